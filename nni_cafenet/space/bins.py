"""Bins: the units in which the width of a group grows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from ..graph import ChannelGroup
from ..utils import check_whole_number

__all__ = ['BinnedGroup', 'Bins', 'EqualBins', 'FlopsSensitiveBins', 'bin_groups', 'parse_bins']


class Bins(ABC):
    """A rule for the bin size of each channel group."""

    @abstractmethod
    def sizes(self, groups: Sequence[ChannelGroup]) -> list[int]:
        """Return the bin size of each group, in channels."""


@dataclass(frozen=True)
class FlopsSensitiveBins(Bins):
    """Bins of about equal MACs in all groups: small where channels are expensive, large where they are cheap.

    The bin size of group l is ``2 ** ceil(log2(max_j eps_j / eps_l))``, clamped to ``min_bin .. max_bin``, where eps
    is the MACs of one channel in the full network, over all its producers and consumers.

    Parameters
    ----------
    min_bin
        Smallest bin, in channels.
    max_bin
        Largest bin, in channels.

    Notes
    -----
    Source: the code of the same authors' earlier work (our reading of "FLOPs-sensitive bins", Su et al. 2021). Their
    values: MobileNetV2 on CIFAR-10 (1, 32), MobileNetV2 1.5x on ImageNet (2, 64), VGG (4, 64), ResNet-50 (16, 256).

    Raises
    ------
    ValueError
        If not ``1 <= min_bin <= max_bin``.
    """

    min_bin: int = 1
    max_bin: int = 32

    def __post_init__(self) -> None:
        object.__setattr__(self, 'min_bin', check_whole_number('min_bin', self.min_bin, 1))
        object.__setattr__(self, 'max_bin', check_whole_number('max_bin', self.max_bin, 1))
        if self.min_bin > self.max_bin:
            raise ValueError(f'min_bin={self.min_bin} is above max_bin={self.max_bin}. Give min_bin <= max_bin.')

    def sizes(self, groups: Sequence[ChannelGroup]) -> list[int]:
        """Return the bin size of each group, in channels; groups without MACs get ``max_bin``."""
        dearest = max((group.macs_per_channel for group in groups), default=0)
        sizes = []
        for group in groups:
            if group.macs_per_channel == 0:
                sizes.append(self.max_bin)
                continue
            power = 0  # ceil(log2(dearest / cost)), in whole numbers
            while group.macs_per_channel << power < dearest:
                power += 1
            sizes.append(min(max(2**power, self.min_bin), self.max_bin))
        return sizes


@dataclass(frozen=True)
class EqualBins(Bins):
    """The same number of bins in every group.

    Parameters
    ----------
    number
        Bins per group; groups with fewer channels have bins of one channel.

    Raises
    ------
    ValueError
        If ``number`` is below 1.
    """

    number: int = 20

    def __post_init__(self) -> None:
        object.__setattr__(self, 'number', check_whole_number('number', self.number, 1))

    def sizes(self, groups: Sequence[ChannelGroup]) -> list[int]:
        """Return the bin size of each group, in channels: its width over ``number``, rounded up."""
        return [math.ceil(group.width / self.number) for group in groups]


@dataclass(frozen=True)
class BinnedGroup:
    """The widths that a channel group may have.

    Attributes
    ----------
    full
        The full width, in channels.
    bin
        Channels per bin; the last bin may have fewer.
    choices
        The allowed widths, ascending: the smallest, the largest, and multiples of the bin between them.
    least_width
        Smallest width at which the model runs, in channels.
    """

    label: str
    full: int
    bin: int
    choices: tuple[int, ...]
    least_width: int = 1

    @property
    def bins(self) -> int:
        """Number of bins."""
        return math.ceil(self.full / self.bin)


def bin_groups(
    groups: Sequence[ChannelGroup], bins: Bins, shares: Sequence[tuple[float, float]], divisors: Sequence[int]
) -> list[BinnedGroup]:
    """Compute the bin size and the allowed widths of each group.

    ``shares`` bound the width of each group: the smallest is rounded up to a multiple of its divisor (0: one bin) and to
    the group's least width, the largest down; if no width is left, the smallest is the only one. Widths are multiples of
    the divisor in groups whose full width is a multiple.
    """
    result = []
    for group, size, (least, most), divisor in zip(groups, bins.sizes(groups), shares, divisors):
        step = divisor if group.width % divisor == 0 else 1
        size = min(_round_up(size, step), group.width)
        largest = max(math.floor(most * group.width + 1e-9) // step, 1) * step
        smallest = _round_up(math.ceil(least * group.width - 1e-9), step) if least > 0 else min(size, largest)
        smallest = min(max(smallest, step, _round_up(group.least_width, step)), group.width)
        between = range(size * (smallest // size + 1), largest, size)
        choices = {smallest, *between, max(smallest, largest)}
        result.append(BinnedGroup(group.label, group.width, size, tuple(sorted(choices)), group.least_width))
    return result


def parse_bins(text: str) -> Bins:
    """Parse ``'1:32'`` as ``FlopsSensitiveBins(1, 32)``, ``'20'`` as ``EqualBins(20)``; a ValueError otherwise."""
    words = text.split(':')
    if len(words) > 2 or not all(word.isascii() and word.isdigit() for word in words):
        raise ValueError(
            f'bins={text!r} is not a rule for bins: write SMALLEST:LARGEST in channels, such as 1:32, for bins of about '
            'equal MACs, or a number of bins per group, such as 20.'
        )
    numbers = [int(word) for word in words]
    return EqualBins(*numbers) if len(numbers) == 1 else FlopsSensitiveBins(*numbers)


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step
