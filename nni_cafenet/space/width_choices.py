"""The widths of a space, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import ChannelGraph
from ..utils import check_number, check_whole_number
from .bins import BinnedGroup
from .checks import check_array, check_widths

__all__ = ['Array', 'WidthChoices', 'Widths']

Array = NDArray[np.int64]
Widths = Mapping[str, int]
"""``{label: channels}``: the width of every channel group."""


class WidthChoices:
    """The part of a `WidthSpace` that needs no model: channel graph, and the `BinnedGroup` of each channel group."""

    graph: ChannelGraph
    groups: tuple[BinnedGroup, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the channel groups: the columns of arrays of widths."""
        return self.graph.labels

    @property
    def choices(self) -> dict[str, tuple[int, ...]]:
        """``{label: widths}``, ascending."""
        return {group.label: group.choices for group in self.groups}

    @property
    def full_widths(self) -> dict[str, int]:
        """The full width of every group, whether or not it is among the choices."""
        return {group.label: group.full for group in self.groups}

    @property
    def smallest_widths(self) -> dict[str, int]:
        """The smallest width of every group."""
        return {group.label: group.choices[0] for group in self.groups}

    def uniform_widths(self, ratio: float) -> dict[str, int]:
        """Scale every group alike: to the choice nearest to ``ratio`` times its full width."""
        ratio = check_number('ratio', ratio, 0, 1)

        def nearest(group: BinnedGroup) -> int:
            return min(group.choices, key=lambda width: abs(width - ratio * group.full))

        return {group.label: nearest(group) for group in self.groups}

    def uniform_within(self, macs: int) -> dict[str, int]:
        """Scale every group alike, as wide as a number of MACs allows: the baseline of a search.

        Widths are the full ones times one ratio, rounded to whole channels (1 or more), whatever the bins. The
        remaining MACs go to the groups in turn, one channel each, so that comparisons are at equal cost. Raises
        ValueError if even one channel per group costs more.
        """
        macs = check_whole_number('macs', macs, 1)
        full = self.graph.full_widths
        scaled = np.maximum(np.rint(np.linspace(1, 0, 2001)[:, None] * full), 1).astype(np.int64)
        fits = np.flatnonzero(self.macs(scaled) <= macs)
        if len(fits) == 0:
            raise ValueError(
                f'macs={macs} is below the {int(self.macs(scaled[-1:])[0]):,} MACs of one channel a group.'
            )
        widths = scaled[fits[0]]
        for index in range(len(full)):
            wider = widths + (np.arange(len(full)) == index)
            if widths[index] < full[index] and self.macs(wider[None])[0] <= macs:
                widths = wider
        return self.to_widths(widths.tolist())

    def describe(self) -> str:
        """Return the size of the space before and after binning, and the cost of the full network."""
        before = sum(math.log10(group.full) for group in self.groups)
        after = sum(math.log10(len(group.choices)) for group in self.groups)
        bins = sum(group.bins for group in self.groups)
        return (
            f'{len(self.groups)} channel groups, {bins} bins: 10^{after:.1f} widths (10^{before:.1f} without bins); '
            f'full network {self.macs(self.full_widths):,} MACs, {self.params(self.full_widths):,} parameters'
        )

    def macs(self, widths: Widths | Array) -> Any:
        """Multiply-accumulates of one sample: convolution, linear and matrix products, as ``FlopCounterMode / 2``.

        Parameters
        ----------
        widths
            ``{label: channels}``, or an integer array of shape (N, groups) with one column per label.

        Returns
        -------
        An int for a dict, an int64 array of shape (N,) for an array.
        """
        return self._cost(self.graph.cost.macs_of, widths)

    def params(self, widths: Widths | Array) -> Any:
        """Number of parameters; arguments and result as of `macs`."""
        return self._cost(self.graph.cost.params_of, widths)

    def _cost(self, function: Any, widths: Widths | Array) -> Any:
        if isinstance(widths, Mapping):
            return int(function(self.to_array(widths))[0])
        return function(check_array(widths, self.full_widths))

    def to_array(self, widths: Widths) -> Array:
        """Return widths as an array of shape (1, groups)."""
        checked = check_widths(widths, self.full_widths)
        return np.array([[checked[label] for label in self.labels]], dtype=np.int64)

    def to_widths(self, row: Sequence[int]) -> dict[str, int]:
        """Return one row of an array of widths as a dict."""
        return dict(zip(self.labels, check_array([row], self.full_widths)[0].tolist()))
