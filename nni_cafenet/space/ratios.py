"""``min_ratio`` and ``max_ratio``: bounds on the share of a group's full width."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from ..graph import ChannelGroup, LayerPattern, matching_layers
from ..utils import check_number

__all__ = ['Ratio', 'RatioBounds']

_logger = logging.getLogger(__name__)

Ratio = float | Mapping[LayerPattern, float]
"""A share of a full width, 0 to 1: one for all groups, or ``{layer pattern: share}``."""

_SMALLEST = 0.1
"""Default of groups that ``min_ratio={pattern: share}`` does not match."""


@dataclass(frozen=True)
class _Bound:
    """A bound, its text for messages, and the layers it applies to (None: all)."""

    share: float
    words: str
    layers: frozenset[str] | None

    def names(self, group: ChannelGroup) -> bool:
        return self.layers is None or not self.layers.isdisjoint(group.producers_or_members)


class RatioBounds:
    """Width bounds of a model's groups, validated before the analysis; see `WidthSpace`.

    Raises ValueError if a share is out of range or a pattern matches no layer, TypeError if a pattern is of another
    type.
    """

    def __init__(self, model: nn.Module, min_ratio: Ratio, max_ratio: Ratio) -> None:
        self._smallest = _bounds('min_ratio', min_ratio, model)
        self._largest = _bounds('max_ratio', max_ratio, model)

    def of(self, groups: Iterable[ChannelGroup]) -> list[tuple[float, float]]:
        """Return the smallest and largest share of each group; a ValueError if they leave none.

        A bound applies to a group if it matches a producer; of several, the strictest applies.
        """
        groups = list(groups)
        for bound in self._largest:
            if not any(bound.names(group) for group in groups):
                _logger.warning('%s has no effect: the layers that it matches keep all their channels.', bound.words)
        return [self._shares(group) for group in groups]

    def _shares(self, group: ChannelGroup) -> tuple[float, float]:
        largest = min((bound for bound in self._largest if bound.names(group)), key=_share, default=None)
        smallest = max((bound for bound in self._smallest if bound.names(group)), key=_share, default=None)
        most = 1.0 if largest is None else largest.share
        if smallest is None:
            return min(_SMALLEST, most), most
        if largest is not None and smallest.share > most:
            raise ValueError(
                f'{smallest.words} is above {largest.words}, and both apply to the channels of {group.label}. '
                'Give a smaller min_ratio or a larger max_ratio there.'
            )
        return smallest.share, most


def _bounds(argument: str, ratio: Ratio, model: nn.Module) -> list[_Bound]:
    if not isinstance(ratio, Mapping):
        return [_Bound(_checked(argument, ratio), f'{argument}={ratio!r}', None)]
    bounds = []
    for pattern, share in ratio.items():
        where = f'{argument}[{pattern!r}]'
        layers = matching_layers(argument, [pattern], model)
        bounds.append(_Bound(_checked(where, share), f'{where}={share!r}', frozenset(layers)))
    return bounds


def _checked(where: str, share: float) -> float:
    least = where.startswith('min')
    found = check_number(where, share, 0, 1, what=f'the {"smallest" if least else "largest"} share of a width to keep')
    if found == 0 and not least:
        raise ValueError(f'{where}={share!r} must be above 0: the largest share of a width to keep.')
    return found


def _share(bound: _Bound) -> float:
    return bound.share
