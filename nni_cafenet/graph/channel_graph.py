"""The channel graph: channel groups, and the layouts of parameter dimensions over them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..utils import as_table
from .attributes import Attribute, ChannelKernel, Cut, PositionTable
from .cost import CostModel

__all__ = ['ChannelGraph', 'ChannelGroup', 'FixedChannels', 'Layout', 'Listing', 'Segment']

Array = NDArray[np.int64]
Item = TypeVar('Item')


class Listing(tuple[Item, ...]):
    """A tuple of records that prints as a table, one row per record."""

    def table(self) -> str:
        """Return the records as text in columns."""
        if not self:
            return '(none)'
        rows = [record.row() for record in self]  # type: ignore[attr-defined]
        return as_table(list(rows[0]), [list(row.values()) for row in rows])

    def __str__(self) -> str:
        return self.table()


@dataclass(frozen=True)
class ChannelGroup:
    """Channel dimensions that share one width and one channel set.

    Parameters
    ----------
    label
        Name of the first producer; the key of the group's width.
    width
        Full width, in channels.
    producers
        Layers that output these channels.
    consumers
        Layers that read these channels.
    others
        Other members (normalization, bare parameters).
    macs_per_channel
        MACs of one channel in the full model: its filters in every producer and its slice of every consumer.
    channel_mixing
        Whether an operator mixes the channels of the group (softmax, layer normalization, a mean over channels).
    ordered
        Whether an operator mixes neighboring channels (a convolution along channels), so that their order matters. The
        channels of a width that are left are neighbors then, in the supernet and in the slim model alike.
    least_width
        Smallest width at which the model runs.
    """

    label: str
    width: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    others: tuple[str, ...]
    macs_per_channel: int
    channel_mixing: bool = False
    ordered: bool = False
    least_width: int = 1

    @property
    def members(self) -> tuple[str, ...]:
        """All layers of the group."""
        return tuple(dict.fromkeys((*self.producers, *self.others, *self.consumers)))

    @property
    def producers_or_members(self) -> tuple[str, ...]:
        """The producers; all members for a group without any (bare parameters)."""
        return self.producers or self.members

    def row(self) -> dict[str, Any]:
        """Return the columns of the group's row in a table."""
        return {
            'group': self.label,
            'width': self.width,
            'MACs per channel': self.macs_per_channel,
            'producers': _short(self.producers),
            'consumers': _short(self.consumers),
        }


@dataclass(frozen=True)
class FixedChannels:
    """Output channels of a layer that cannot change, with the reason."""

    label: str
    width: int
    reason: str

    def row(self) -> dict[str, Any]:
        """Return the columns of the row in a table."""
        return {'layer': self.label, 'width': self.width, 'reason': self.reason}


@dataclass(frozen=True)
class Segment:
    """A run of positions in a layout.

    Parameters
    ----------
    label
        The group of these channels, or None for a fixed run.
    positions
        Number of positions in the full model.
    outer
        Repetitions of the group's channels (groups of a grouped convolution).
    inner
        Adjacent positions per channel (49 for a flattened 7 x 7 map).
    """

    label: str | None
    positions: int
    outer: int = 1
    inner: int = 1


@dataclass(frozen=True, eq=False)
class Layout:
    """The group and channel at each position of one dimension.

    Parameters
    ----------
    groups
        Index of the group at each position, shape (size,); -1 where the position is fixed.
    channels
        The channel of that group at each position, shape (size,); 0 where fixed.
    """

    groups: Array
    channels: Array

    def __len__(self) -> int:
        return len(self.groups)

    def segments(self, groups: Sequence[ChannelGroup]) -> list[Segment]:
        """Return the layout as a list of runs."""
        cuts = np.flatnonzero(np.diff(self.groups)) + 1
        segments = []
        for part in np.split(np.arange(len(self)), cuts):
            index = int(self.groups[part[0]])
            if index < 0:
                segments.append(Segment(None, len(part)))
                continue
            width = groups[index].width
            changes = np.flatnonzero(np.diff(self.channels[part]))
            inner = int(changes[0]) + 1 if len(changes) else len(part)
            outer = max(1, len(part) // (inner * width))
            segments.append(Segment(groups[index].label, len(part), outer, inner))
        return segments


@dataclass(frozen=True)
class ChannelGraph:
    """Result of the analysis of a model.

    Parameters
    ----------
    groups
        The channel groups, in network order.
    fixed
        Output channels that cannot change.
    dims
        ``{parameter or buffer: layout index of each dimension}``; None for a dimension of constant size. Lists only
        tensors with at least one variable dimension.
    layouts
        The distinct layouts.
    attributes
        Module attributes that depend on a width.
    cost
        MACs and parameters as functions of the widths.
    cuts
        Where the model splits dimensions.
    value_dependent_sizes
        Whether output sizes may depend on tensor values (see `Constraints`).
    differs_in_training
        Whether the model may run other operators in training mode (see `Constraints`).
    produced
        Output-channel dimensions of weights, as (parameter, axis).
    tables
        Positions that modules keep.
    splits
        Sizes into which reshapes split a dimension; the source of every part is the whole of it.
    channel_kernels
        Kernels that slide along channels.
    """

    groups: Listing[ChannelGroup]
    fixed: Listing[FixedChannels]
    dims: Mapping[str, tuple[int | None, ...]]
    layouts: tuple[Layout, ...]
    attributes: tuple[Attribute, ...]
    cost: CostModel
    cuts: tuple[Cut, ...] = ()
    value_dependent_sizes: bool = False
    produced: tuple[tuple[str, int], ...] = ()
    differs_in_training: bool = False
    tables: tuple[PositionTable, ...] = ()
    splits: tuple[Cut, ...] = ()
    channel_kernels: tuple[ChannelKernel, ...] = ()

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Labels of the groups, in order: the columns of arrays of widths."""
        return tuple(group.label for group in self.groups)

    @cached_property
    def full_widths(self) -> Array:
        """Full widths of the groups, shape (groups,)."""
        return np.array([group.width for group in self.groups], dtype=np.int64)

    @cached_property
    def _ends(self) -> list[int]:
        """End of each group in the concatenation of all channels, after a 0."""
        return [0, *itertools.accumulate(group.width for group in self.groups)]

    @cached_property
    def slots(self) -> tuple[Array, ...]:
        """For each layout, the index of its positions among all channels; the last index means 'fixed'."""
        starts = np.array(self._ends)
        return tuple(
            np.where(layout.groups < 0, starts[-1], starts[layout.groups] + layout.channels) for layout in self.layouts
        )

    def concatenated_slots(self, layouts: tuple[int, ...]) -> Array:
        """Return the concatenated slots of some layouts."""
        if layouts not in self._concatenated_slots:
            self._concatenated_slots[layouts] = np.concatenate(
                [self.slots[index] for index in layouts] or [np.arange(0)]
            )
        return self._concatenated_slots[layouts]

    @cached_property
    def _concatenated_slots(self) -> dict[tuple[int, ...], Array]:
        return {}

    @cached_property
    def all_slots(self) -> Array:
        """The concatenated slots of all layouts, each followed by -1."""
        return np.concatenate([part for slots in self.slots for part in (slots, [-1])] or [np.arange(0)])

    @cached_property
    def layout_starts(self) -> Array:
        """Start of each layout in `all_slots`, shape (layouts,)."""
        return np.cumsum([0, *(len(layout) + 1 for layout in self.layouts)])[:-1]

    def selected_slots(self, channel_sets: Mapping[str, Any]) -> NDArray[np.int8]:
        """Return 1 for each slot that channel sets select, else 0; an extra last slot is always 0.

        Parameters
        ----------
        channel_sets
            ``{label: channel indices, or a number of leftmost channels}``; other groups keep all channels.
        """
        selected = np.ones(self._ends[-1] + 2, dtype=np.int8)
        selected[-1] = 0
        for label, start, end in zip(self.labels, self._ends, self._ends[1:]):
            chosen = channel_sets.get(label, end)
            if isinstance(chosen, int):
                selected[start + chosen : end] = 0
            else:
                selected[start:end] = 0
                selected[start:end][np.asarray(chosen, dtype=np.int64)] = 1
        return selected

    def positions(self, channel_sets: Mapping[str, Any]) -> list[Array | None]:
        """Return the selected positions of each layout, ascending; None if all are selected."""
        selected = self.selected_slots(channel_sets)
        chosen = [np.flatnonzero(selected[slots]) for slots in self.slots]
        return [None if len(each) == len(slots) else each for each, slots in zip(chosen, self.slots)]

    def permuted_positions(self, orders: Mapping[str, Any]) -> list[Array | None]:
        """Return the permutation of each layout that permutes channels within groups.

        Parameters
        ----------
        orders
            ``{label: old channel at each new index}``; other groups keep their order.

        Returns
        -------
        For each layout, the old position at each new position; None if unchanged.
        """
        moved = {index: np.asarray(orders[label]) for index, label in enumerate(self.labels) if label in orders}
        places = []
        for layout in self.layouts:
            place = np.arange(len(layout))
            for index in np.unique(layout.groups).tolist():
                if index in moved:
                    own = np.flatnonzero(layout.groups == index)
                    of_channel = own[np.argsort(layout.channels[own], kind='stable')].reshape(len(moved[index]), -1)
                    place[of_channel] = of_channel[moved[index]]
            places.append(None if (np.diff(place) == 1).all() else place)
        return places

    def layout_of(self, parameter: str, axis: int) -> list[Segment]:
        """Return the segments of one dimension of a parameter."""
        index = self.dims[parameter][axis]
        return [] if index is None else self.layouts[index].segments(self.groups)

    def with_fixed(self, reasons: Mapping[str, str]) -> ChannelGraph:
        """Return the graph with the groups of ``{label: reason}`` fixed."""
        if not reasons:
            return self
        gone = np.array([label in reasons for label in self.labels])
        new_index = np.concatenate([np.where(gone, -1, np.cumsum(~gone) - 1), [-1]])  # index -1 maps to itself
        layouts = tuple(
            Layout(new_index[layout.groups], np.where(new_index[layout.groups] < 0, 0, layout.channels))
            for layout in self.layouts
        )
        changes = [bool((layout.groups >= 0).any()) for layout in layouts]
        dims = {
            name: tuple(None if index is None or not changes[index] else index for index in indices)
            for name, indices in self.dims.items()
        }
        cost = self.cost
        moved = cost.weights[:, gone] @ self.full_widths[gone]
        newly_fixed = [
            FixedChannels(group.label, group.width, reasons[group.label])
            for group in self.groups
            if group.label in reasons
        ]
        return replace(
            self,
            groups=Listing(group for group in self.groups if group.label not in reasons),
            fixed=Listing((*self.fixed, *newly_fixed)),
            dims={name: indices for name, indices in dims.items() if any(index is not None for index in indices)},
            layouts=layouts,
            attributes=tuple(a for a in self.attributes if dims.get(a.parameter, (None,) * 9)[a.axis] is not None),
            tables=tuple(table for table in self.tables if changes[table.layout]),
            cost=replace(cost, weights=cost.weights[:, ~gone], fixed=cost.fixed + moved),
        )


def _short(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    return ', '.join(names[:most]) + (f' and {len(names) - most} more' if len(names) > most else '')
