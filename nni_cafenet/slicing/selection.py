"""The part of a model that channel sets select: slices of its tensors, and matching module attributes.

The slim model owns copies of these slices, and the supernet runs on them in place, so the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..graph import ChannelGraph, PositionTable
from .attributes import WidthAttributes
from .index_runs import Axes, IndexRuns, open_index
from .memory_layout import shares_memory
from .position_tables import counted_tables, table_attributes, table_buffers
from .tensor_slots import TensorSlots

__all__ = ['Selection', 'put', 'take']

Positions = tuple[Tensor | None, ...]
"""The selected positions of each dimension of a tensor, ascending; None for all."""


class Selection:
    """The part of a model that channel sets select.

    Parameters
    ----------
    graph
        The model's channel graph.
    channel_sets
        ``{label: channel indices, or a number of leftmost channels}``; other groups keep all channels.

    Attributes
    ----------
    graph : ChannelGraph
        The graph.
    slots : int8 array
        The selected channels (see `ChannelGraph.selected_slots`).
    runs : list
        The `IndexRuns` of each layout of the graph; None for all positions.
    """

    def __init__(self, graph: ChannelGraph, channel_sets: Mapping[str, Any]) -> None:
        self.graph = graph
        self.slots = graph.selected_slots(channel_sets)
        self.runs = _runs_of(graph, self.slots)
        self._joined: dict[tuple[int, ...], Tensor] = {}

    @property
    def is_whole(self) -> bool:
        """Whether every channel is selected."""
        return all(runs is None for runs in self.runs)

    @cached_property
    def sizes(self) -> list[int]:
        """Number of selected positions of each layout."""
        return [len(layout) if runs is None else runs.size for layout, runs in zip(self.graph.layouts, self.runs)]

    def joined_index(self, layouts: tuple[int, ...]) -> Tensor:
        """Return the selected positions of concatenated layouts: ascending int64.

        Cached, since scales, biases and both running statistics of normalizations share them.
        """
        if layouts not in self._joined:
            self._joined[layouts] = torch.from_numpy(np.flatnonzero(self.slots[self.graph.concatenated_slots(layouts)]))
        return self._joined[layouts]

    @cached_property
    def axes(self) -> dict[str, Axes]:
        """The runs of each dimension, of parameters and buffers that are not selected whole."""
        runs = self.runs
        of: dict[tuple[int | None, ...], Axes] = {}
        axes = {}
        for name, indices in self.graph.dims.items():
            if indices not in of:
                chosen = tuple([None if index is None else runs[index] for index in indices])
                of[indices] = () if chosen == (None,) * len(chosen) else chosen
            if of[indices]:
                axes[name] = of[indices]
        return axes

    @cached_property
    def positions(self) -> dict[str, Positions]:
        """The positions of each dimension of every tensor of the graph."""
        chosen = [None if runs is None else runs.index() for runs in self.runs]
        return {
            name: tuple(None if index is None else chosen[index] for index in indices)
            for name, indices in self.graph.dims.items()
        }

    def slices(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the slices of parameters and buffers that are not selected whole, by name.

        Autograd follows: gradients arrive at the selected entries of the full tensors and are zero elsewhere.
        """
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        return {**{name: take(tensors[name], self.positions[name]) for name in self.axes}, **self.tables(tensors)}

    def tables(self, buffers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the buffers that hold positions, counted among the selected ones, by name."""
        return table_buffers(self._counted_tables, buffers)

    @cached_property
    def _counted_tables(self) -> dict[PositionTable, list[int]]:
        return counted_tables(self.graph, self.slots)

    def attributes(self, model: nn.Module, slots: TensorSlots | None = None) -> dict[str, dict[str, Any]]:
        """Return the module attributes of the selection, ``{module: {attribute: value}}``.

        ``slots``: those of the model, where they are at hand.
        """
        slots = slots or TensorSlots(model)
        values = WidthAttributes(self.graph, slots).values(self.sizes, self.runs)
        return self.with_tables(values, slots.modules)

    def with_tables(
        self, values: dict[str, dict[str, Any]], modules: Mapping[str, nn.Module]
    ) -> dict[str, dict[str, Any]]:
        """Return the values of attributes with those that hold positions."""
        for path, tables in table_attributes(self._counted_tables, modules).items():
            values.setdefault(path, {}).update(tables)
        return values


def _runs_of(graph: ChannelGraph, selected_slots: NDArray[np.int8]) -> list[IndexRuns | None]:
    """Return the runs of each layout; None for all positions."""
    changes = np.diff(selected_slots[graph.all_slots], prepend=np.int8(0))
    starts, ends = np.flatnonzero(changes > 0), np.flatnonzero(changes < 0)
    cuts = np.searchsorted(starts, graph.layout_starts).tolist()
    starts_within = starts - np.repeat(graph.layout_starts, np.diff([*cuts, len(starts)]))
    firsts, lengths = starts_within.tolist(), (ends - starts).tolist()
    return [
        None if lengths[cut:end] == [len(layout)] else IndexRuns(firsts[cut:end], lengths[cut:end])
        for layout, cut, end in zip(graph.layouts, cuts, [*cuts[1:], len(firsts)])
    ]


def take(tensor: Tensor, positions: Positions) -> Tensor:
    """Return a slice of a tensor: a view if the positions are contiguous, else a copy."""
    for axis, chosen in enumerate(positions):
        if chosen is None:
            continue
        first, last = (0, -1) if chosen.is_meta else (int(chosen[0]), int(chosen[-1]))
        if last - first + 1 == len(chosen):
            tensor = tensor.narrow(axis, first, len(chosen))
        else:
            tensor = tensor.index_select(axis, chosen.to(tensor.device))
    return tensor


def put(tensor: Tensor, positions: Positions, values: Tensor) -> None:
    """Write values into a slice of a tensor, in place; tensors whose elements share memory stay as they are."""
    if shares_memory(tensor):
        return  # an expanded constant: torch refuses to write into it
    if all(chosen is None for chosen in positions):
        tensor.copy_(values)
        return
    tensor[open_index(tensor, positions)] = values
