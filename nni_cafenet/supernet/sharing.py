"""Sharing: the rule that maps a width to its channel sets in the supernet."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..space import BinnedGroup
from ..utils import check_whole_number

__all__ = ['Fixed', 'LocallyFree', 'Sharing', 'distinct']

_TRIES = 4
"""Draws for each additional channel set of a score."""


class Sharing(ABC):
    """A rule that maps the width of a channel group to its channel sets."""

    @abstractmethod
    def sample(self, group: BinnedGroup, width: int, rng: np.random.Generator) -> Tensor:
        """Draw one channel set, uniformly: an ascending int64 tensor of shape (width,)."""

    @abstractmethod
    def every(self, group: BinnedGroup, width: int) -> Iterator[Tensor]:
        """Yield every channel set of a width, the leftmost channels first."""

    def check(self, groups: Sequence[BinnedGroup]) -> None:  # noqa: B027 - most rules fit every space
        """Raise ValueError if the rule does not fit a space."""

    def sample_all(
        self, groups: Sequence[BinnedGroup], widths: Mapping[str, int], rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """Draw one channel set for every group, independently."""
        return {group.label: self.sample(group, widths[group.label], rng) for group in groups}

    def sample_several(
        self, groups: Sequence[BinnedGroup], widths: Mapping[str, int], number: int, rng: np.random.Generator
    ) -> list[dict[str, Tensor]]:
        """Draw the channel sets that a training step compares; some may be equal."""
        return [self.sample_all(groups, widths, rng) for _ in range(number)]

    def different(
        self, groups: Sequence[BinnedGroup], widths: Mapping[str, int], number: int, rng: np.random.Generator
    ) -> list[dict[str, Tensor]]:
        """Return the channel sets that a score compares: all distinct, the leftmost channels first.

        They are fewer than ``number`` if the rule has fewer, or several draws in a row repeat others.
        """
        sets = [{group.label: torch.arange(widths[group.label]) for group in groups}]
        for _ in range(_TRIES * (number - 1)):
            if len(sets) == number:
                break
            sets = distinct([*sets, self.sample_all(groups, widths, rng)])
        return sets


def distinct(sets: Sequence[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """Return channel sets without duplicates, in order."""
    seen = dict[bytes, dict[str, Tensor]]()
    for channel_sets in sets:
        seen.setdefault(b''.join(chosen.cpu().numpy().tobytes() for chosen in channel_sets.values()), channel_sets)
    return list(seen.values())


@dataclass(frozen=True)
class Fixed(Sharing):
    """A width always has its leftmost channels (slimmable networks, US-Nets, AutoSlim, MetaPruning)."""

    def sample(self, group: BinnedGroup, width: int, rng: np.random.Generator) -> Tensor:
        """Return the leftmost channels; nothing is drawn."""
        return torch.arange(width)

    def every(self, group: BinnedGroup, width: int) -> Iterator[Tensor]:
        """Yield the leftmost channels."""
        yield torch.arange(width)


@dataclass(frozen=True)
class LocallyFree(Sharing):
    """Locally free weight sharing: fixed base channels, and free channels within a zone.

    Counted in units from 1, a width of c units in a group of n is

    - ``centered``: the base 1..c-r-1 and any r+1 units of the zone c-r..c+r (1, 3, 10, 35 sets for r = 0, 1, 2, 3);
    - ``one-sided``: the base 1..c-r and any r units of the zone c-r+1..c+r (1, 2, 6, 20 sets).

    The zone is clipped to the group, and free units fill up the total of c. ``offset=0`` is the fixed pattern. Both are our
    readings of Su et al. 2021, figure 1.

    Parameters
    ----------
    offset
        r, in units. 0 or more.
    zone
        ``'centered'`` (default) or ``'one-sided'``.
    unit
        ``'bin'`` (default): units are the bins of the group. A last bin with fewer channels cannot replace a whole one, so
        only the full width has it. If a width is not a whole number of bins, the last bin picked contributes a part of its
        channels. ``'channel'``: units are channels.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    offset: int = 1
    zone: str = 'centered'
    unit: str = 'bin'

    def __post_init__(self) -> None:
        object.__setattr__(self, 'offset', check_whole_number('offset', self.offset, 0))
        if self.zone not in ('centered', 'one-sided'):
            raise ValueError(f"zone={self.zone!r} must be 'centered' or 'one-sided'.")
        if self.unit not in ('bin', 'channel'):
            raise ValueError(f"unit={self.unit!r} must be 'bin' or 'channel'.")

    def check(self, groups: Sequence[BinnedGroup]) -> None:
        """Raise ValueError if the offset is wider than every group of the space."""
        widest = max(group.full // self._unit(group) for group in groups)
        if self.offset > 0 and self.offset >= widest:
            raise ValueError(
                f'offset={self.offset} is wider than every layer: the widest group has {widest} {self.unit}s. '
                f'Give an offset below {widest}, or finer bins.'
            )

    def window(self, group: BinnedGroup, width: int) -> tuple[int, int, int]:
        """Return (units of the base, end of the zone, units to pick from the zone); the zone starts after the base."""
        unit = self._unit(group)
        whole = group.full // unit
        count = math.ceil(width / unit)
        if width >= group.full or count > whole:
            return count, count, 0
        base = max(count - self.offset - (1 if self.zone == 'centered' else 0), 0)
        end = min(count + self.offset, whole)
        return base, end, count - base

    def sample(self, group: BinnedGroup, width: int, rng: np.random.Generator) -> Tensor:
        """Draw one of the zone's subsets uniformly."""
        base, end, pick = self.window(group, width)
        free = np.sort(rng.choice(end - base, size=pick, replace=False)) + base if pick else np.arange(0)
        return self._channels(group, width, base, free)

    def every(self, group: BinnedGroup, width: int) -> Iterator[Tensor]:
        """Yield every channel set, the leftmost channels first."""
        base, end, pick = self.window(group, width)
        for free in itertools.combinations(range(base, end), pick):
            yield self._channels(group, width, base, np.array(free, dtype=np.int64))

    def _unit(self, group: BinnedGroup) -> int:
        return group.bin if self.unit == 'bin' else 1

    def _channels(self, group: BinnedGroup, width: int, base: int, free: NDArray[np.int64]) -> Tensor:
        unit = self._unit(group)
        picked = (free[:, None] * unit + np.arange(unit)).ravel()  # a last bin with fewer channels is never in the zone
        return torch.from_numpy(np.concatenate([np.arange(min(base * unit, group.full)), picked])[:width])
