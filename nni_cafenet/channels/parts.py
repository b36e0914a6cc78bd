"""The selected parts of parameters, as one function for autograd: many parameters at once, in few calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .gradients import KeptMemory
from .graph import ChannelGraph
from .runs import Axes, index_of, read
from .selection import Selection
from .vectors import SelectedVectors, Vectors

__all__ = ['Chunk', 'chunks_of', 'parts_of']

_CHUNK = 1 << 20  # elements after which a chunk of parameters ends


class Chunk:
    """Parameters whose parts are taken, and whose gradients are written, together.

    Parameters
    ----------
    graph
        The model's channel graph.
    parameters
        ``{name: parameter}``.
    """

    def __init__(self, graph: ChannelGraph, parameters: Mapping[str, Tensor]) -> None:
        vectors = [name for name, parameter in parameters.items() if parameter.dim() == 1]
        self.names = [name for name in parameters if name not in vectors]
        self.vectors = Vectors(graph, vectors)


def chunks_of(graph: ChannelGraph, parameters: Mapping[str, Tensor]) -> list[Chunk]:
    """Cut the parameters that a graph knows into chunks, so that data parallelism can send gradients before the last."""
    chunks: list[dict[str, Tensor]] = [{}]
    for name in [name for name in parameters if name in graph.dims]:
        if sum(parameter.numel() for parameter in chunks[-1].values()) >= _CHUNK:
            chunks.append({})
        chunks[-1][name] = parameters[name]
    return [Chunk(graph, chunk) for chunk in chunks]


def parts_of(
    chunk: Chunk, parameters: Mapping[str, Tensor], selection: Selection, kept: KeptMemory
) -> dict[str, Tensor]:
    """Return the selected parts of those parameters of a chunk that are not selected whole.

    Parameters
    ----------
    chunk
        The chunk.
    parameters
        ``{name: parameter}``: leaves.
    selection
        What is selected.
    kept
        Where their gradients are kept.
    """
    axes = selection.axes
    vectors = chunk.vectors.names
    if not any(name in axes for name in (*vectors, *chunk.names)):
        return {}
    joined = chunk.vectors.can_join(parameters)
    single = [name for name in (chunk.names if joined else (*vectors, *chunk.names)) if name in axes]
    names = [*vectors, *single] if joined else single
    work = _Work(
        names, [axes.get(name, ()) for name in names], chunk.vectors.selected(selection) if joined else None, kept
    )
    given = [parameters[name] for name in names]
    if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in given):
        return dict(zip(names, _Parts.apply(work, *given)))
    with torch.no_grad():
        return dict(zip(names, work.read(given)))


class _Work:
    """Some vectors, joined, and then other parameters one by one."""

    def __init__(
        self, names: Sequence[str], axes: Sequence[Axes], vectors: SelectedVectors | None, kept: KeptMemory
    ) -> None:
        self.names = names
        self.axes = axes
        self.vectors = vectors
        self.kept = kept
        self._joined = 0 if vectors is None else len(vectors)

    def read(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Return the parts, as they are read without gradients."""
        cut = self._joined
        rest = [read(whole.detach(), axes) for whole, axes in zip(parameters[cut:], self.axes[cut:])]
        return [*self._read_vectors(parameters), *rest]

    def read_for_graph(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Return the parts; those of convolutions as copies, since forward and backward would each make one of a view."""
        parts = [*self._read_vectors(parameters)]
        for name, whole, axes in zip(self.names[self._joined :], parameters[self._joined :], self.axes[self._joined :]):
            own = whole.detach()
            empty = partial(self.kept.empty, name, own)
            part = read(own, axes, empty)
            if part.dim() > 2 and not part.is_contiguous():
                part = empty(tuple(part.shape)).copy_(part)
            parts.append(part)
        return parts

    def _read_vectors(self, parameters: Sequence[Tensor]) -> Sequence[Tensor]:
        return () if self.vectors is None else self.vectors.read(parameters[: self._joined])

    def spread(self, parameters: Sequence[Tensor], parts: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return gradients of full size."""
        cut = self._joined
        first = [] if self.vectors is None else self.vectors.spread(parts[:cut])
        rest = zip(self.names[cut:], parameters[cut:], self.axes[cut:], parts[cut:])
        return [
            *first,
            *(None if part is None else self.kept.spread(name, whole, axes, part) for name, whole, axes, part in rest),
        ]


class _Parts(torch.autograd.Function):
    """Parts of parameters; backward gives each of these a gradient of full size."""

    @staticmethod
    def forward(ctx: Any, work: _Work, *parameters: Tensor) -> Any:
        ctx.work, ctx.parameters = work, parameters
        ctx.set_materialize_grads(False)
        parts = work.read_for_graph(parameters)
        ctx.mark_non_differentiable(*(part for part, needs in zip(parts, ctx.needs_input_grad[1:]) if not needs))
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *parts: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            return (None, *_differentiably(ctx.parameters, ctx.work.axes, parts))
        return (None, *ctx.work.spread(ctx.parameters, parts))


def _differentiably(
    parameters: Sequence[Tensor], axes: Sequence[Axes], parts: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Return gradients of full size as functions of the parts, for gradients of gradients."""
    return [
        None if part is None else torch.zeros_like(whole).index_put(index_of(whole, runs), part)
        for whole, runs, part in zip(parameters, axes, parts)
    ]
