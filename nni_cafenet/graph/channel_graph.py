"""The channel graph of a model: its channel groups, and how the dimensions of its parameters are made of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..utils import as_table
from .attributes import Attribute, Cut
from .cost import CostModel

__all__ = ['ChannelGraph', 'ChannelGroup', 'FixedChannels', 'Layout', 'Listing', 'Segment']

Array = NDArray[np.int64]
Item = TypeVar('Item')


class Listing(tuple[Item, ...]):
    """A tuple of records that prints as a table, one row a record."""

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
    """Channels that must be kept or removed together: one decision.

    Parameters
    ----------
    label
        Name of the first layer that makes the channels; the key of its width everywhere.
    width
        Full width, in channels.
    producers
        Layers whose outputs these channels are.
    consumers
        Layers whose inputs these channels are.
    others
        Other members (normalization, bare parameters).
    macs_per_channel
        MACs of one channel in the full model: its filters in every producer and its slice of every reader.
    channel_mixing
        Whether an operator mixes the channels of the group (softmax, layer normalization, a mean over channels).
    """

    label: str
    width: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    others: tuple[str, ...]
    macs_per_channel: int
    channel_mixing: bool = False

    @property
    def members(self) -> tuple[str, ...]:
        """All layers that the group touches."""
        return tuple(dict.fromkeys((*self.producers, *self.others, *self.consumers)))

    @property
    def producers_or_members(self) -> tuple[str, ...]:
        """The layers whose outputs these channels are; where none makes them (bare parameters), all members."""
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
    """Output channels of a layer that cannot change, and why."""

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
        The group whose channels stand here, or None for a fixed run.
    positions
        How many positions the run has in the full model.
    outer
        How often the channels of the group follow each other (groups of a grouped convolution).
    inner
        How many neighboring positions each channel has (49 for a flattened 7 x 7 map).
    """

    label: str | None
    positions: int
    outer: int = 1
    inner: int = 1


@dataclass(frozen=True, eq=False)
class Layout:
    """How one dimension is made of channel groups, position by position.

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
        """Describe the layout by its runs."""
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
    """What the analysis of a model found.

    Parameters
    ----------
    groups
        The channel groups, in the order in which the model makes them.
    fixed
        Output channels that cannot change.
    dims
        ``{parameter or buffer: index of the layout of each dimension}``; None for a dimension that never changes.
        Only tensors with a dimension that can change are listed.
    layouts
        The distinct layouts.
    attributes
        Numbers of modules that follow a width.
    cost
        MACs and parameters as functions of the widths.
    cuts
        Where the model cuts dimensions into several parts.
    value_dependent_sizes
        Whether the sizes of what the model returns may depend on values (see `Constraints`).
    differs_in_training
        Whether the model may do something else in training mode (see `Constraints`).
    produced
        The dimensions of weights that are output channels, as (parameter, axis).
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
        """Where the channels of each group end in the chain of all channels, after a 0."""
        return [0, *itertools.accumulate(group.width for group in self.groups)]

    @cached_property
    def slots(self) -> tuple[Array, ...]:
        """For each layout, where its positions stand in the chain of all channels; the last slot is 'fixed'."""
        starts = np.array(self._ends)
        return tuple(
            np.where(layout.groups < 0, starts[-1], starts[layout.groups] + layout.channels) for layout in self.layouts
        )

    def concatenated_slots(self, layouts: tuple[int, ...]) -> Array:
        """Return the slots of some layouts, one layout after the other."""
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
        """The slots of all layouts, one layout after the other, with -1 after each."""
        return np.concatenate([part for slots in self.slots for part in (slots, [-1])] or [np.arange(0)])

    @cached_property
    def layout_starts(self) -> Array:
        """Where each layout starts among the chained slots, shape (layouts,)."""
        return np.cumsum([0, *(len(layout) + 1 for layout in self.layouts)])[:-1]

    def selected_slots(self, channel_sets: Mapping[str, Any]) -> NDArray[np.int8]:
        """Return 1 for each slot that channel sets select, else 0; the slot after 'fixed' is selected by none.

        Parameters
        ----------
        channel_sets
            ``{label: channel indices, or how many of the leftmost channels}``; groups left out keep all.
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
        """Return the positions that channel sets select, for each layout, ascending; None where that is all of them."""
        selected = self.selected_slots(channel_sets)
        chosen = [np.flatnonzero(selected[slots]) for slots in self.slots]
        return [None if len(each) == len(slots) else each for each, slots in zip(chosen, self.slots)]

    def permuted_positions(self, orders: Mapping[str, Any]) -> list[Array | None]:
        """Return what stands where when channels change places.

        Parameters
        ----------
        orders
            ``{label: the channel that comes to stand at each place}``; groups left out stay as they are.

        Returns
        -------
        For each layout the position that comes to stand at each position; None where nothing moves.
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
        """Describe one dimension of a parameter by segments."""
        index = self.dims[parameter][axis]
        return [] if index is None else self.layouts[index].segments(self.groups)

    def with_fixed(self, reasons: Mapping[str, str]) -> ChannelGraph:
        """Return the graph with some groups fixed.

        Parameters
        ----------
        reasons
            ``{label: why}``.
        """
        if not reasons:
            return self
        gone = np.array([label in reasons for label in self.labels])
        new_index = np.concatenate([np.where(gone, -1, np.cumsum(~gone) - 1), [-1]])  # the last stands for -1
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
            cost=replace(cost, weights=cost.weights[:, ~gone], fixed=cost.fixed + moved),
        )


def _short(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    return ', '.join(names[:most]) + (f' and {len(names) - most} more' if len(names) > most else '')
