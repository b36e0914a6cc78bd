"""Successive halving: many short trainings, the better of which are repeated for more epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..utils import check_number, check_whole_number

__all__ = ['Halving', 'epochs_text', 'halve']

_Network = TypeVar('_Network')


@dataclass(frozen=True)
class Halving:
    """How successive halving chooses among networks.

    All networks are trained for ``epochs[0]`` epochs, the better share ``keep`` of them for ``epochs[1]`` epochs, and so
    on. Every training starts anew, so its learning-rate schedule ends within its epochs.

    Parameters
    ----------
    epochs
        Epochs of a training in each rung, ascending; a single number for one rung.
    keep
        Share of the networks that reach the next rung, rounded up; above 0 and below 1.

    Raises
    ------
    ValueError
        If an option is out of range.

    Notes
    -----
    Source: Jamieson and Talwalkar 2016, with trainings that start anew in each rung.
    """

    epochs: tuple[int, ...] = (2, 4, 8)
    keep: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, 'epochs', _ascending(self.epochs))
        keep = check_number('keep', self.keep, 0, 1, open=True, what='the share that reaches the next rung')
        object.__setattr__(self, 'keep', keep)

    @classmethod
    def of(cls, name: str, value: Any) -> Halving:
        """Return an option as a `Halving`: one, or the epochs of its rungs.

        Raises
        ------
        ValueError
            If it is neither; the message names the option.
        """
        if isinstance(value, Halving):
            return value
        try:
            return cls(value)
        except ValueError as error:
            raise ValueError(f'{name}: {error}') from None

    def kept(self, number: int) -> int:
        """Return how many of ``number`` networks are kept: 1 or more."""
        return max(1, math.ceil(self.keep * number - 1e-9))

    def sizes(self, number: int) -> list[int]:
        """Return the number of trainings in each rung."""
        sizes = [number]
        for _ in self.epochs[1:]:
            sizes.append(self.kept(sizes[-1]))
        return sizes

    def describe(self, number: int) -> str:
        """Return its cost in words, for logs and reports.

        Examples
        --------
        >>> Halving((2, 4, 8)).describe(24)
        '24 trainings of 2 epochs, 12 of 4, 6 of 8: 144 epochs in all'
        """
        sizes = self.sizes(number)
        rungs = [f'{size} of {epochs}' for size, epochs in zip(sizes, self.epochs)]
        rungs[0] = f'{sizes[0]} trainings of {epochs_text(self.epochs[0])}'
        return f'{", ".join(rungs)}: {sum(a * b for a, b in zip(sizes, self.epochs))} epochs in all'


def halve(
    candidates: Sequence[_Network],
    halving: Halving,
    train: Callable[[Sequence[_Network], int], Iterable[tuple[_Network, float]]],
) -> list[_Network]:
    """Choose among networks by short trainings; return those of the last rung with a fitness, best first.

    ``train`` trains networks for a number of epochs, each anew, and returns those that were trained with their fitness:
    higher is better, NaN is worse than any number. Of equals, the first is better.
    """
    left = list(candidates)
    for epochs in halving.epochs:
        number = len(left)
        trained = [(network, fitness) for network, fitness in train(left, epochs) if not math.isnan(fitness)]
        ranked = [network for network, _ in sorted(trained, key=lambda each: -each[1])]
        if epochs == halving.epochs[-1] or not ranked:
            return ranked
        left = ranked[: halving.kept(number)]
    return left


def epochs_text(epochs: int) -> str:
    """Return ``'1 epoch'``, ``'2 epochs'``, ..."""
    return f'{epochs} epoch' if epochs == 1 else f'{epochs} epochs'


def _ascending(epochs: Any) -> tuple[int, ...]:
    """Return the epochs of the rungs; a ValueError if they are not ascending whole numbers."""
    each = epochs if isinstance(epochs, Sequence) and not isinstance(epochs, str) else [epochs]
    try:
        values = tuple(check_whole_number('epochs', one, 1) for one in each)
    except ValueError:
        values = ()
    if not values or any(a >= b for a, b in zip(values, values[1:])):
        raise ValueError(
            f'epochs={epochs!r} must be ascending whole numbers of 1 or more, one for each rung, such as (2, 4, 8).'
        )
    return values
