"""Copies of slices of buffers, which the model may write to, and writing them back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...graph import ChannelGraph
from ...utils import copy_each
from ..memory_layout import shares_memory
from ..selection import Selection
from .blocks import read, write
from .small_tensors import SmallTensors

__all__ = ['BufferCopies', 'Buffers']


class Buffers:
    """The buffers of a model: running statistics and counters, concatenated by kind, and single others."""

    def __init__(self, graph: ChannelGraph, buffers: Mapping[str, Tensor]) -> None:
        statistics: dict[Any, list[str]] = {}
        counters: dict[Any, list[str]] = {}
        self.others: list[str] = []
        for name, buffer in buffers.items():
            kind = buffer.dtype, buffer.device
            if buffer.dim() == 0:
                counters.setdefault(kind, []).append(name)
            elif buffer.dim() == 1 and name in graph.dims and not shares_memory(buffer):
                statistics.setdefault(kind, []).append(name)
            else:
                self.others.append(name)
        self.small = [SmallTensors(graph, names) for names in statistics.values()]
        self.counters = list(counters.values())


class BufferCopies:
    """Copies of slices of all buffers, each with its own version counter: ``tensors``, by name."""

    @torch.no_grad()
    def __init__(self, own: Buffers, buffers: Mapping[str, Tensor], selection: Selection) -> None:
        self._rows = [(small.selected(selection), [buffers[name] for name in small.names]) for small in own.small]
        self._others = [(name, buffers[name], selection.axes.get(name, ())) for name in own.others]
        self._counters = {name: buffers[name] for names in own.counters for name in names}
        self.tensors: dict[str, Tensor] = {}
        for rows, wholes in self._rows:
            self.tensors.update(zip(rows.names, rows.read(wholes)))
        for names in own.counters:
            copies = torch.stack([buffers[name] for name in names])
            each = torch.unsafe_split_with_sizes(copies, [1] * len(names))
            self.tensors.update(zip(names, [copy.view(()) for copy in each]))
        for name, buffer, axes in self._others:
            self.tensors[name] = read(buffer, axes).clone()

    @torch.no_grad()
    def write_back(self, tensors: Mapping[str, Tensor]) -> None:
        """Write tensors, the copies or what the model replaced them with, back into the full buffers."""
        for rows, wholes in self._rows:
            rows.write(wholes, [tensors[name] for name in rows.names])
        if self._counters:
            copy_each(list(self._counters.values()), [tensors[name] for name in self._counters])
        for name, buffer, axes in self._others:
            if not shares_memory(buffer):  # torch refuses to write into expanded constants
                write([buffer], [axes], [tensors[name]])
