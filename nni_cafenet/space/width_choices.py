"""The widths of a space, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graph import ChannelGraph
from ..utils import check_number, check_whole_number
from .bins import BinnedGroup
from .width_labels import Array, WidthLabels, Widths

__all__ = ['Array', 'WidthChoices', 'Widths']


class WidthChoices:
    """The part of a `WidthSpace` that needs no model: channel graph, the `BinnedGroup` of each group, and labels."""

    graph: ChannelGraph
    groups: tuple[BinnedGroup, ...]
    _labels: WidthLabels

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels: the columns of arrays of widths. Those of the channel groups, or of the choices of an NNI space."""
        return tuple(self._labels.full)

    @property
    def choices(self) -> dict[str, tuple[int, ...]]:
        """``{label: widths}``, ascending."""
        return dict(self._labels.choices)

    @property
    def listed(self) -> bool:
        """Whether `choices` has all widths that are possible, as in a space made of an NNI space."""
        return self._labels.listed

    @property
    def full_widths(self) -> dict[str, int]:
        """The full width of every label, whether or not it is among the choices."""
        return dict(self._labels.full)

    @property
    def smallest_widths(self) -> dict[str, int]:
        """The smallest width of every label."""
        return {label: widths[0] for label, widths in self._labels.choices.items()}

    @property
    def governed(self) -> dict[str, tuple[str, ...]]:
        """``{label: labels of the channel groups that it governs}``."""
        names = self.graph.labels
        return {label: tuple(names[index] for index in groups) for label, groups in self._labels.governed.items()}

    def group_widths(self, widths: Widths | Array) -> Any:
        """Return the width of every channel group, in channels.

        These are the widths themselves, unless the space was made of an NNI space, whose labels may govern several groups.

        Parameters
        ----------
        widths
            ``{label: width}``, or an array of shape (N, labels).

        Returns
        -------
        ``{label: channels}`` of the channel groups, or an int64 array of shape (N, groups).
        """
        if isinstance(widths, Mapping):
            return self._widths_of_groups(widths)
        return self._labels.of_groups(self._labels.check_array(widths))

    def _widths_of_groups(self, widths: Widths) -> dict[str, int]:
        return dict(zip(self.graph.labels, self._labels.of_groups(self.to_array(widths))[0].tolist()))

    def uniform_widths(self, ratio: float) -> dict[str, int]:
        """Scale every label alike: to the choice nearest to ``ratio`` times its full width."""
        ratio, full = check_number('ratio', ratio, 0, 1), self._labels.full

        def nearest(label: str, widths: Sequence[int]) -> int:
            return min(widths, key=lambda width: abs(width - ratio * full[label]))

        return {label: nearest(label, widths) for label, widths in self._labels.choices.items()}

    def uniform_within(self, macs: int) -> dict[str, int]:
        """Scale every label alike, as wide as a number of MACs allows: the baseline of a search.

        Widths are the full ones times one ratio, rounded to whole channels (no fewer than the model runs with), whatever
        the bins; in a `listed` space to the nearest choice. The remaining MACs go to the labels in turn, one channel each,
        or the next choice, so that comparisons are at equal cost. Raises ValueError if even the narrowest network costs
        more.
        """
        macs = check_whole_number('macs', macs, 1)
        scaled = self._labels.scaled(np.linspace(1, 0, 2001)[:, None])
        fits = np.flatnonzero(self.macs(scaled) <= macs)
        if len(fits) == 0:
            least = int(self.macs(scaled[-1:])[0])
            raise ValueError(f'macs={macs} is below the {least:,} MACs of the narrowest network.')
        widths = scaled[fits[0]]
        for index in range(len(widths)):
            wider = self._labels.widened(widths, index)
            if self.macs(wider[None])[0] <= macs:
                widths = wider
        return self.to_widths(widths.tolist())

    def describe(self) -> str:
        """Return the size of the space, before and after binning, and the cost of the full network."""
        return (
            f'{self._labels.describe()}; full network {self.macs(self.full_widths):,} MACs, '
            f'{self.params(self.full_widths):,} parameters'
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
            return int(function(self._labels.of_groups(self.to_array(widths)))[0])
        return function(self.group_widths(widths))

    def to_array(self, widths: Widths) -> Array:
        """Return widths as an array of shape (1, labels)."""
        checked = self._labels.check(widths)
        return np.array([[checked[label] for label in self.labels]])

    def checked(self, widths: Widths) -> dict[str, int]:
        """Return widths as plain numbers in the order of the labels; a ValueError if one is missing or not allowed."""
        return self._labels.check(widths)

    def to_widths(self, row: Sequence[int]) -> dict[str, int]:
        """Return one row of an array of widths as a dict."""
        return self._labels.to_widths(row)
