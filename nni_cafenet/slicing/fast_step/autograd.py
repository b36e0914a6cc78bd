"""The slices of many parameters as one autograd function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from ...graph import ChannelGraph
from ..index_runs import Axes
from ..selection import Selection
from .blocks import index_of
from .large_tensors import LargeTensors, SelectedBlocks
from .small_tensors import SelectedRows, SmallTensors

__all__ = ['ParameterBlock', 'blocks_of']

_BLOCK_SIZE = 1 << 20  # elements after which a block of parameters ends
_SMALL_SIZE = 1 << 14  # elements of the largest small tensor


class ParameterBlock:
    """Parameters that are sliced together and whose gradients are written together.

    Parameters
    ----------
    graph
        The model's channel graph.
    parameters
        ``{name: parameter}`` of parameters in the graph.
    """

    def __init__(self, graph: ChannelGraph, parameters: Mapping[str, Tensor]) -> None:
        small: dict[Any, list[str]] = {}
        large: dict[Any, list[str]] = {}
        for name, parameter in parameters.items():
            first, *others = graph.dims[name]
            kind = parameter.dtype, parameter.device
            if first is not None and others.count(None) == len(others) and parameter.numel() <= _SMALL_SIZE:
                small.setdefault((*kind, parameter.shape[1:]), []).append(name)
            else:
                large.setdefault(kind, []).append(name)
        for kind, names in list(small.items()):
            if len(names) == 1:
                large.setdefault(kind[:2], []).extend(small.pop(kind))
        self._tensors: list[SmallTensors | LargeTensors] = [
            *(SmallTensors(graph, names) for names in small.values()),
            *(LargeTensors(graph, {name: parameters[name] for name in names}) for names in large.values()),
        ]

    def slices(self, parameters: Mapping[str, Tensor], selection: Selection) -> dict[str, Tensor]:
        """Return the slices of parameters that are not selected whole, and of some that are."""
        selected = _BlockSelection([tensors.selected(selection) for tensors in self._tensors], selection)
        wholes = [parameters[name] for name in selected.names]
        if not wholes:
            return {}
        if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in wholes):
            return dict(zip(selected.names, SliceFunction.apply(selected, *wholes)))
        with torch.no_grad():
            return dict(zip(selected.names, selected.read(wholes)))


def blocks_of(graph: ChannelGraph, parameters: Mapping[str, Tensor]) -> list[ParameterBlock]:
    """Split the parameters of a graph into blocks, so that data parallelism can send the first gradients early."""
    blocks: list[dict[str, Tensor]] = [{}]
    for name in [name for name in parameters if name in graph.dims]:
        if sum(parameter.numel() for parameter in blocks[-1].values()) >= _BLOCK_SIZE:
            blocks.append({})
        blocks[-1][name] = parameters[name]
    return [ParameterBlock(graph, block) for block in blocks]


class _BlockSelection:
    """What is selected of a block."""

    def __init__(self, selected: Sequence[SelectedRows | SelectedBlocks], selection: Selection) -> None:
        self.names = [name for tensors in selected for name in tensors.names]
        self._selection = selection
        ends = [*accumulate(len(tensors.names) for tensors in selected)]
        self._tensors = [
            (tensors, slice(start, end)) for tensors, start, end in zip(selected, [0, *ends], ends) if end > start
        ]

    @property
    def axes(self) -> list[Axes]:
        """The selected runs of each tensor."""
        return [self._selection.axes.get(name, ()) for name in self.names]

    def read(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Return the slices."""
        return [each for tensors, own in self._tensors for each in tensors.read(parameters[own])]

    def scatter(self, slices: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return full-size gradients."""
        return [gradient for tensors, own in self._tensors for gradient in tensors.scatter(slices[own])]


class SliceFunction(torch.autograd.Function):
    """Slices of parameters; the backward returns full-size gradients."""

    @staticmethod
    def forward(ctx: Any, selected: _BlockSelection, *parameters: Tensor) -> Any:
        ctx.selected, ctx.parameters = selected, parameters
        ctx.set_materialize_grads(False)
        slices = selected.read(parameters)
        needed = ctx.needs_input_grad[1:]
        if not all(needed):
            ctx.mark_non_differentiable(*(each for each, needs in zip(slices, needed) if not needs))
        return tuple(slices)

    @staticmethod
    def backward(ctx: Any, *slices: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            return (None, *_differentiably(ctx.parameters, ctx.selected.axes, slices))
        return (None, *ctx.selected.scatter(slices))


def _differentiably(
    parameters: Sequence[Tensor], axes: Sequence[Axes], slices: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Return full-size gradients as differentiable functions of those of the slices, for second derivatives."""
    return [
        None if each is None else torch.zeros_like(whole).index_put(index_of(whole, runs), each)
        for whole, runs, each in zip(parameters, axes, slices)
    ]
