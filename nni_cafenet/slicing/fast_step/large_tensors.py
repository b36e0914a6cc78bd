"""Large tensors, each by itself: what is selected of them is copied block by block."""

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
    """Some tensors of one dtype and device.

    Parameters
    ----------
    graph
        The model's channel graph.
    tensors
        ``{name: tensor}``, each with a dimension that follows widths.
    """

    def __init__(self, graph: ChannelGraph, tensors: Mapping[str, Tensor]) -> None:
        self._layouts = [(name, graph.dims[name]) for name in tensors]
        self._channels_last = [memory_format_of(each) != torch.contiguous_format for each in tensors.values()]
        self._gradients = ReusedGradients(list(tensors.values()))
        self._memory = ReusedMemory(self._gradients.size, next(iter(tensors.values())))

    def selected(self, selection: Selection) -> SelectedBlocks:
        """Return what is selected of those that are not selected whole."""
        runs = selection.runs
        chosen: dict[int, Axes] = {}
        for index, (_, layouts) in enumerate(self._layouts):
            axes = tuple([None if layout is None else runs[layout] for layout in layouts])
            if axes.count(None) < len(axes):
                chosen[index] = axes
        names = [self._layouts[index][0] for index in chosen]
        return SelectedBlocks(names, chosen, self._channels_last, self._gradients, self._memory)


class SelectedBlocks:
    """What is selected of some tensors.

    Parameters
    ----------
    names
        Their names.
    chosen
        ``{which one it is: what is selected of it}``.
    channels_last
        Whether each of all has its channels last in memory.
    gradients, memory
        Where gradients are kept, and memory for parts.
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
        """Return what is selected of each tensor: a view where that is as good as a copy. Autograd must not look on.

        Forward and backward of a convolution would each make a copy of a view that is not contiguous.
        """
        slices = list(tensors)
        copies: list[tuple[int, int, Axes]] = []
        for position, (tensor, (index, axes)) in enumerate(zip(tensors, self._chosen.items())):
            several = any(runs is not None and len(runs.starts) > 1 for runs in axes)
            if several or (len(axes) > 2 and axes.count(None) < len(axes) - (axes[0] is not None)):
                copies.append((position, index, axes))
            else:  # detached: autograd takes what a function returns for a view of its input otherwise
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
        """Return gradients of full size that have the selected entries, and are zero elsewhere; None for None."""
        known = {index: axes for (index, axes), each in zip(self._chosen.items(), slices) if each is not None}
        gradients = iter(self._gradients.scatter(known, [each for each in slices if each is not None]))
        return [None if each is None else next(gradients) for each in slices]


def _strides(shape: Sequence[int], *, channels_last: bool) -> list[int]:
    """Return the strides of a tensor that fills its memory."""
    strides, step = [1] * len(shape), 1
    inner = range(len(shape) - 1, -1, -1)
    for axis in (1, *inner[:-2], 0) if channels_last else inner:
        strides[axis] = step
        step *= shape[axis]
    return strides
