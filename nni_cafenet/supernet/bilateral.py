"""Bilateral sharing: a rule that counts channels from the left, and its mirror image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..space import BinnedGroup
from ..utils import check_flag, check_instance
from .sharing import Fixed, Sharing, distinct

__all__ = ['Bilateral']


@dataclass(frozen=True)
class Bilateral(Sharing):
    """Count channels from either end of a group, with equal probability.

    A rule such as `Fixed` or `LocallyFree` trains the first channels of a group far more often than the last: 20 times for
    the fixed pattern of 20 bins, 11.5 times for the centered free zone with ``offset=1``. Here half of the channel sets are
    mirrored, so both ends train equally often.

    - ``Bilateral()``: the leftmost or the rightmost channels, as in BCNet (Su et al., CVPR 2021).
    - ``Bilateral(LocallyFree(offset=1))``: base channels at either end and a free zone beside them.

    If a training step or a score compares several channel sets, they come in pairs: a set and its mirror image.

    Parameters
    ----------
    rule
        The rule at the left end; default `Fixed`.
    coupled
        True (default): all groups count from the same end, as in BCNet. False: each group draws its own end.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range.

    Notes
    -----
    The mirror image of channel i of n is n - 1 - i, so a short last bin of a group becomes its first. A channel set that
    the rule yields at both ends is drawn twice as often as others.

    Examples
    --------
    >>> from nni_cafenet import Bilateral, CafeNet, LocallyFree
    >>> strategy = CafeNet('50%', sharing=Bilateral(LocallyFree(offset=1)))
    """

    rule: Sharing = field(default_factory=Fixed)
    coupled: bool = True

    def __post_init__(self) -> None:
        check_instance('rule', self.rule, Sharing, 'Fixed() or LocallyFree(offset=1)')
        if isinstance(self.rule, Bilateral):
            raise ValueError(f'rule={self.rule!r} is bilateral already. Give the rule of one end, such as Fixed().')
        check_flag('coupled', self.coupled)

    def check(self, groups: Sequence[BinnedGroup]) -> None:
        """Raise ValueError if the rule does not fit a space."""
        self.rule.check(groups)

    def sample(self, group: BinnedGroup, width: int, rng: np.random.Generator) -> Tensor:
        """Draw an end, then one channel set of the rule."""
        mirrored = bool(rng.integers(2))
        chosen = self.rule.sample(group, width, rng)
        return _mirrored(group, chosen) if mirrored else chosen

    def every(self, group: BinnedGroup, width: int) -> Iterator[Tensor]:
        """Yield every channel set once: those of the left end, then the other ones of the right end."""
        left = list(self.rule.every(group, width))
        yield from left
        known = {tuple(chosen.tolist()) for chosen in left}
        for chosen in left:
            mirrored = _mirrored(group, chosen)
            if tuple(mirrored.tolist()) not in known:
                yield mirrored

    def sample_all(
        self, groups: Sequence[BinnedGroup], widths: Mapping[str, int], rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """Draw one channel set for every group, all at one end or each at its own end."""
        if not self.coupled:
            return super().sample_all(groups, widths, rng)
        mirrored = bool(rng.integers(2))
        chosen = self.rule.sample_all(groups, widths, rng)
        return _all_mirrored(groups, chosen) if mirrored else chosen

    def sample_several(
        self, groups: Sequence[BinnedGroup], widths: Mapping[str, int], number: int, rng: np.random.Generator
    ) -> list[dict[str, Tensor]]:
        """Draw channel sets in pairs of mirror images."""
        sets = list[dict[str, Tensor]]()
        while len(sets) < number:
            chosen = self.sample_all(groups, widths, rng)
            sets += [chosen, _all_mirrored(groups, chosen)]
        return sets[:number]

    def different(
        self, groups: Sequence[BinnedGroup], widths: Mapping[str, int], number: int, rng: np.random.Generator
    ) -> list[dict[str, Tensor]]:
        """Return distinct channel sets in pairs of mirror images, the leftmost and the rightmost channels first."""
        left = super().different(groups, widths, -(-number // 2), rng)
        pairs = [each for chosen in left for each in (chosen, _all_mirrored(groups, chosen))]
        return distinct(pairs)[:number]


def _mirrored(group: BinnedGroup, chosen: Tensor) -> Tensor:
    return torch.flip(group.full - 1 - chosen, (0,))


def _all_mirrored(groups: Sequence[BinnedGroup], sets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {group.label: _mirrored(group, sets[group.label]) for group in groups}
