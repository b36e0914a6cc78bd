"""Large tensors: their slices are copied block by block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...graph import ChannelGraph
from ...utils import copy_each
from ..index_runs import Axes
from ..memory_layout import memory_format_of
from ..selection import Selection
from .blocks import bounding_box, gather, paired_blocks, selected_shape
from .reused_gradients import ReusedGradients
from .reused_memory import ReusedMemory

__all__ = ['LargeTensors', 'SelectedBlocks']


class LargeTensors:
    """Large tensors of one dtype and device, each with a dimension that follows widths."""

    def __init__(self, graph: ChannelGraph, tensors: Mapping[str, Tensor]) -> None:
        self._layouts = [(name, graph.dims[name]) for name in tensors]
        self._channels_last = [memory_format_of(each) != torch.contiguous_format for each in tensors.values()]
        self._gradients = ReusedGradients(list(tensors.values()))
        self._memory = ReusedMemory(self._gradients.size, next(iter(tensors.values())))

    def selected(self, selection: Selection) -> SelectedBlocks:
        """Return the selection of those that are not selected whole."""
        runs = selection.runs
        chosen: dict[int, Axes] = {}
        for index, (_, layouts) in enumerate(self._layouts):
            axes = tuple([None if layout is None else runs[layout] for layout in layouts])
            if axes.count(None) < len(axes):
                chosen[index] = axes
        names = [self._layouts[index][0] for index in chosen]
        return SelectedBlocks(names, chosen, self._channels_last, self._gradients, self._memory)


class SelectedBlocks:
    """A selection of large tensors.

    Parameters
    ----------
    names
        The tensors that are not selected whole.
    chosen
        ``{index of the tensor: its selected runs}``.
    channels_last
        Whether each tensor has its channels last in memory.
    gradients, memory
        Memory for gradients and for slices.
    """

    def __init__(
        self,
        names: Sequence[str],
        chosen: Mapping[int, Axes],
        channels_last: Sequence[bool],
        gradients: ReusedGradients,
        memory: ReusedMemory,
    ) -> None:
        self.names = names
        self._chosen = chosen
        self._channels_last = channels_last
        self._gradients = gradients
        self._memory = memory

    def read(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the slice of each tensor, as a view if that is as fast. Not for use under autograd.

        Forward and backward of a convolution would each copy a view that is not contiguous.
        """
        slices = list(tensors)
        copies: list[tuple[int, int, Axes]] = []
        for position, (tensor, (index, axes)) in enumerate(zip(tensors, self._chosen.items())):
            several = any(runs is not None and len(runs.starts) > 1 for runs in axes)
            if several or (len(axes) > 2 and axes.count(None) < len(axes) - (axes[0] is not None)):
                copies.append((position, index, axes))
            else:  # detached, or autograd would take the output for a view of an input
                slices[position] = bounding_box(tensor.detach(), axes)
        shapes = [selected_shape(tensors[position], axes) for position, _, axes in copies]
        sources: list[Tensor] = []
        targets: list[Tensor] = []
        memories = self._memory.allocate([math.prod(shape) for shape in shapes])
        for (position, index, axes), shape, memory in zip(copies, shapes, memories):
            out = slices[position] = memory.as_strided(shape, _strides(shape, channels_last=self._channels_last[index]))
            pairs = paired_blocks(tensors[position], out, axes)
            if pairs is None:
                gather(tensors[position], axes, out)
            else:
                sources += pairs[0]
                targets += pairs[1]
        if targets:
            copy_each(targets, sources)
        return slices

    def scatter(self, slices: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return full-size gradients with the given slices, zero elsewhere; None for None."""
        known = {index: axes for (index, axes), each in zip(self._chosen.items(), slices) if each is not None}
        gradients = iter(self._gradients.scatter(known, [each for each in slices if each is not None]))
        return [None if each is None else next(gradients) for each in slices]


def _strides(shape: Sequence[int], *, channels_last: bool) -> list[int]:
    """Return the strides of a dense tensor."""
    strides, step = [1] * len(shape), 1
    inner = range(len(shape) - 1, -1, -1)
    for axis in (1, *inner[:-2], 0) if channels_last else inner:
        strides[axis] = step
        step *= shape[axis]
    return strides
