"""What the labels of a space mean: the widths that each may have, and the channel groups that it governs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .bins import BinnedGroup
from .checks import as_rows, check_array, check_labels, check_widths

__all__ = ['Array', 'ChoiceLabels', 'GroupLabels', 'GroupTable', 'WidthLabels', 'Widths']

Array = NDArray[np.int64]
Widths = Mapping[str, int]
"""``{label: width}``: the width of every label. Labels of an NNI space have its own values, which may be fractions."""


class WidthLabels(ABC):
    """The labels of a space: the columns of arrays of widths."""

    listed: ClassVar[bool]
    """Whether there are no widths other than the choices."""

    choices: dict[str, tuple[int, ...]]
    """The choices of each label, ascending."""

    full: dict[str, int]
    """The width of each label in the full network."""

    @abstractmethod
    def check(self, widths: Widths) -> dict[str, int]:
        """Return validated widths in the order of the labels; a ValueError if they are none."""

    @abstractmethod
    def check_array(self, rows: Any) -> Array:
        """Return a validated array of widths (N, labels); a ValueError if it is none."""

    @abstractmethod
    def of_groups(self, rows: Array) -> Array:
        """Return the widths of the channel groups (N, groups) at validated widths (N, labels)."""

    @property
    @abstractmethod
    def governed(self) -> dict[str, tuple[int, ...]]:
        """The indices of the channel groups that each label governs."""

    @abstractmethod
    def to_widths(self, row: Sequence[Any]) -> dict[str, int]:
        """Return one row of an array of widths as a dict."""

    @abstractmethod
    def scaled(self, ratios: NDArray[np.float64]) -> Array:
        """Return all labels scaled by each of some ratios (R, 1): widths (R, labels)."""

    @abstractmethod
    def widened(self, row: Array, index: int) -> Array:
        """Return a row with the next larger width of one label, if there is any."""

    @abstractmethod
    def describe(self) -> str:
        """Return the size of the space in words."""


class GroupLabels(WidthLabels):
    """One label for each channel group: its width. Widths between the choices are possible."""

    listed = False

    def __init__(self, groups: Sequence[BinnedGroup]) -> None:
        self._groups = groups
        self.choices = {group.label: group.choices for group in groups}
        self.full = {group.label: group.full for group in groups}
        self._least = {group.label: group.least_width for group in groups}
        self._full_row = np.array(list(self.full.values()), np.int64)
        self._least_row = np.array(list(self._least.values()), np.int64)

    def check(self, widths: Widths) -> dict[str, int]:
        """Accept every width from the least at which the model runs to the full one."""
        return check_widths(widths, self.full, self._least)

    def check_array(self, rows: Any) -> Array:
        """Accept every width from the least at which the model runs to the full one."""
        return check_array(rows, self.full, self._least)

    def of_groups(self, rows: Array) -> Array:
        """Return the widths themselves."""
        return rows

    @property
    def governed(self) -> dict[str, tuple[int, ...]]:
        """Each label governs its own group."""
        return {label: (index,) for index, label in enumerate(self.full)}

    def to_widths(self, row: Sequence[Any]) -> dict[str, int]:
        """Return a row as whole numbers."""
        return dict(zip(self.full, self.check_array([row])[0].tolist()))

    def scaled(self, ratios: NDArray[np.float64]) -> Array:
        """Round to whole channels, no fewer than the model runs with."""
        return np.maximum(np.rint(ratios * self._full_row), self._least_row).astype(np.int64)

    def widened(self, row: Array, index: int) -> Array:
        """Add a channel."""
        return np.minimum(row + (np.arange(len(row)) == index), self._full_row)

    def describe(self) -> str:
        """Return the numbers of groups, bins and widths."""
        before = sum(math.log10(group.full) for group in self._groups)
        after = sum(math.log10(len(group.choices)) for group in self._groups)
        bins = sum(group.bins for group in self._groups)
        return f'{len(self._groups)} channel groups, {bins} bins: 10^{after:.1f} widths (10^{before:.1f} without bins)'


@dataclass(frozen=True, eq=False)
class GroupTable:
    """The width of a channel group at all values of the labels that govern it.

    Attributes
    ----------
    labels
        The columns of these labels.
    widths
        Widths in channels, with one axis for each label, along its choices.
    """

    labels: tuple[int, ...]
    widths: Array


class ChoiceLabels(WidthLabels):
    """The labels of an NNI space: each governs one channel group or several, and has no values but those listed."""

    listed = True

    def __init__(self, choices: Mapping[str, tuple[int, ...]], tables: Sequence[GroupTable]) -> None:
        self.choices = dict(choices)
        self.full = {label: values[-1] for label, values in choices.items()}
        self._tables = tables
        self._values = [np.array(values) for values in choices.values()]

    def check(self, widths: Widths) -> dict[str, int]:
        """Accept the listed values."""
        check_labels(widths, self.full)
        found = {}
        for label, values in self.choices.items():
            if widths[label] not in values:
                raise ValueError(f'widths[{label!r}]={widths[label]!r} must be one of {list(values)}.')
            found[label] = values[values.index(widths[label])]
        return found

    def check_array(self, rows: Any) -> Array:
        """Accept the listed values."""
        array = as_rows(rows, len(self.full))
        for column, (label, values) in enumerate(self.choices.items()):
            wrong = np.flatnonzero(~np.isin(array[:, column], values))
            if len(wrong):
                found = array[wrong[0], column]
                raise ValueError(f'widths[{wrong[0]}] has {found} for {label!r}; it must be one of {list(values)}.')
        return array

    def of_groups(self, rows: Array) -> Array:
        """Look the widths up."""
        levels = [np.searchsorted(values, column) for values, column in zip(self._values, rows.T)]
        columns = [table.widths[tuple(levels[index] for index in table.labels)] for table in self._tables]
        return np.stack(columns, axis=1)

    @property
    def governed(self) -> dict[str, tuple[int, ...]]:
        """The groups whose tables have the label."""
        return {
            label: tuple(group for group, table in enumerate(self._tables) if index in table.labels)
            for index, label in enumerate(self.full)
        }

    def to_widths(self, row: Sequence[Any]) -> dict[str, int]:
        """Return a row as the user's own values."""
        return self.check(dict(zip(self.full, self.check_array([row])[0].tolist())))

    def scaled(self, ratios: NDArray[np.float64]) -> Array:
        """Choose the nearest listed values."""
        columns = [values[np.abs(values - ratios * values[-1]).argmin(axis=1)] for values in self._values]
        return np.stack(columns, axis=1)

    def widened(self, row: Array, index: int) -> Array:
        """Take the next listed value."""
        values, wider = self._values[index], row.copy()
        wider[index] = values[min(int(np.searchsorted(values, row[index])) + 1, len(values) - 1)]
        return wider

    def describe(self) -> str:
        """Return the numbers of choices, groups and networks."""
        size = sum(math.log10(len(values)) for values in self.choices.values())
        return f'{len(self.full)} choices for {len(self._tables)} channel groups: 10^{size:.1f} widths'
