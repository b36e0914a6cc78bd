"""``divisor``: numbers that widths are multiples of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from torch import nn

from ..graph import ChannelGroup, LayerPattern, matching_layers
from ..utils import check_whole_number

__all__ = ['Divisor', 'Divisors', 'check_divisor']

Divisor = int | Mapping[LayerPattern, int]
"""A number for all groups, or ``{layer pattern: number}``; 1 for groups that no pattern matches."""


def check_divisor(divisor: Divisor) -> Divisor:
    """Return a divisor; a ValueError if a number is not whole or below 1."""
    if not isinstance(divisor, Mapping):
        return check_whole_number('divisor', divisor, 1)
    return {pattern: check_whole_number(f'divisor[{pattern!r}]', number, 1) for pattern, number in divisor.items()}


class Divisors:
    """The divisors of a model's groups, by a checked ``divisor``; their patterns are matched before the analysis.

    Raises ValueError if a pattern matches no layer, TypeError if it is of another type.
    """

    def __init__(self, model: nn.Module, divisor: Divisor) -> None:
        self._all = 1 if isinstance(divisor, Mapping) else divisor
        self._some = [
            (frozenset(matching_layers('divisor', [pattern], model)), number)
            for pattern, number in (divisor.items() if isinstance(divisor, Mapping) else ())
        ]

    def of(self, groups: Iterable[ChannelGroup]) -> list[int]:
        """Return the divisor of each group: the least common multiple of those that match a producer."""
        return [
            math.lcm(self._all, *(n for layers, n in self._some if not layers.isdisjoint(group.producers_or_members)))
            for group in groups
        ]
