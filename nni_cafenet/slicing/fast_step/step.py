"""Slices of many tensors at once, in memory reused from earlier steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from ...graph import ChannelGraph
from ..selection import Selection
from .autograd import ParameterBlock, blocks_of
from .blocks import read
from .buffers import BufferCopies, Buffers

__all__ = ['FastStep']


class FastStep:
    """The methods of `SlowStep`, with the same results to the bit."""

    def __init__(self, graph: ChannelGraph) -> None:
        self._graph = graph
        self._parameter_kinds: list[Any] = []
        self._blocks: dict[bool, list[ParameterBlock]] = {}
        self._buffer_kinds: list[Any] = []
        self._buffers: Buffers | None = None

    def slices(self, parameters: Mapping[str, Tensor], selection: Selection) -> dict[str, Tensor]:
        """Return ``{name: slice}`` of the parameters that are not selected whole, and of some that are."""
        slices: dict[str, Tensor] = {}
        if not selection.is_whole:
            for block in self._blocks_of(parameters):
                slices.update(block.slices(parameters, selection))
        return slices

    def buffer_views(self, buffers: Mapping[str, Tensor], selection: Selection) -> dict[str, Tensor]:
        """Return ``{name: slice}`` of the buffers that are not selected whole: views of single blocks."""
        return {name: read(buffers[name], axes) for name, axes in selection.axes.items() if name in buffers}

    def buffer_copies(self, buffers: Mapping[str, Tensor], selection: Selection) -> BufferCopies:
        """Return copies of all buffers, of what is selected of each."""
        kinds = _kinds(buffers)
        if self._buffers is None or self._buffer_kinds != kinds:
            self._buffer_kinds, self._buffers = kinds, Buffers(self._graph, buffers)
        return BufferCopies(self._buffers, buffers, selection)

    def _blocks_of(self, parameters: Mapping[str, Tensor]) -> list[ParameterBlock]:
        """Return the parameters of the graph as one block; as several if other processes wait for gradients."""
        kinds = _kinds(parameters)
        if self._parameter_kinds != kinds:
            self._parameter_kinds, self._blocks = kinds, {}
        several = torch.is_grad_enabled() and torch.distributed.is_available() and torch.distributed.is_initialized()
        if several not in self._blocks:
            known = {name: parameter for name, parameter in parameters.items() if name in self._graph.dims}
            self._blocks[several] = blocks_of(self._graph, known) if several else [ParameterBlock(self._graph, known)]
        return self._blocks[several]


def _kinds(tensors: Mapping[str, Tensor]) -> list[Any]:
    return [(each.dtype, each.device) for each in tensors.values()]
