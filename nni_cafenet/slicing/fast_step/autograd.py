"""The selected parts of parameters, as one function for autograd: many parameters at once, in few calls."""

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

_CHUNK = 1 << 20  # elements after which a chunk of parameters ends
_SHORT = 1 << 14  # elements up to which a tensor is short


class ParameterBlock:
    """Parameters whose parts are taken, and whose gradients are written, together.

    Parameters
    ----------
    graph
        The model's channel graph.
    parameters
        ``{name: parameter}``: leaves that the graph knows.
    """

    def __init__(self, graph: ChannelGraph, parameters: Mapping[str, Tensor]) -> None:
        short: dict[Any, list[str]] = {}
        separate: dict[Any, list[str]] = {}
        for name, parameter in parameters.items():
            first, *others = graph.dims[name]
            kind = parameter.dtype, parameter.device
            if first is not None and others.count(None) == len(others) and parameter.numel() <= _SHORT:
                short.setdefault((*kind, parameter.shape[1:]), []).append(name)
            else:
                separate.setdefault(kind, []).append(name)
        for kind, names in list(short.items()):
            if len(names) == 1:
                separate.setdefault(kind[:2], []).extend(short.pop(kind))
        self._bundles: list[SmallTensors | LargeTensors] = [
            *(SmallTensors(graph, names) for names in short.values()),
            *(LargeTensors(graph, {name: parameters[name] for name in names}) for names in separate.values()),
        ]

    def parts(self, parameters: Mapping[str, Tensor], selection: Selection) -> dict[str, Tensor]:
        """Return the selected parts of those parameters that are not selected whole, and of some that are.

        Parameters
        ----------
        parameters
            ``{name: parameter}``, as they now stand in the model.
        selection
            What is selected.
        """
        taken = _Taken([bundle.selected(selection) for bundle in self._bundles], selection)
        given = [parameters[name] for name in taken.names]
        if not given:
            return {}
        if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in given):
            return dict(zip(taken.names, SliceFunction.apply(taken, *given)))
        with torch.no_grad():
            return dict(zip(taken.names, taken.read(given)))


def blocks_of(graph: ChannelGraph, parameters: Mapping[str, Tensor]) -> list[ParameterBlock]:
    """Cut the parameters that a graph knows into chunks, so that data parallelism can send gradients before the last."""
    chunks: list[dict[str, Tensor]] = [{}]
    for name in [name for name in parameters if name in graph.dims]:
        if sum(parameter.numel() for parameter in chunks[-1].values()) >= _CHUNK:
            chunks.append({})
        chunks[-1][name] = parameters[name]
    return [ParameterBlock(graph, chunk) for chunk in chunks]


class _Taken:
    """What is selected of the bundles of a chunk."""

    def __init__(self, bundles: Sequence[SelectedRows | SelectedBlocks], selection: Selection) -> None:
        self.names = [name for bundle in bundles for name in bundle.names]
        self._selection = selection
        ends = [*accumulate(len(bundle.names) for bundle in bundles)]
        self._bundles = [
            (bundle, slice(start, end)) for bundle, start, end in zip(bundles, [0, *ends], ends) if end > start
        ]

    @property
    def axes(self) -> list[Axes]:
        """What is selected of each tensor."""
        return [self._selection.axes.get(name, ()) for name in self.names]

    def read(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Return the parts."""
        return [part for bundle, own in self._bundles for part in bundle.read(parameters[own])]

    def spread(self, parts: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return gradients of full size."""
        return [gradient for bundle, own in self._bundles for gradient in bundle.spread(parts[own])]


class SliceFunction(torch.autograd.Function):
    """Parts of parameters; backward gives each of these a gradient of full size."""

    @staticmethod
    def forward(ctx: Any, taken: _Taken, *parameters: Tensor) -> Any:
        ctx.taken, ctx.parameters = taken, parameters
        ctx.set_materialize_grads(False)
        parts = taken.read(parameters)
        needed = ctx.needs_input_grad[1:]
        if not all(needed):
            ctx.mark_non_differentiable(*(part for part, needs in zip(parts, needed) if not needs))
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *parts: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            return (None, *_differentiably(ctx.parameters, ctx.taken.axes, parts))
        return (None, *ctx.taken.spread(parts))


def _differentiably(
    parameters: Sequence[Tensor], axes: Sequence[Axes], parts: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Return gradients of full size as functions of the parts, for gradients of gradients."""
    return [
        None if part is None else torch.zeros_like(whole).index_put(index_of(whole, runs), part)
        for whole, runs, part in zip(parameters, axes, parts)
    ]
