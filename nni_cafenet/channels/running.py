"""A model that runs on one selection after the other: the work of every step, and no more than that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from .attributes import FollowingAttributes
from .gradients import KeptMemory
from .graph import ChannelGraph
from .parts import Chunk, chunks_of, parts_of
from .places import Places
from .run import apply_attributes, call_with
from .runs import read, write
from .selection import Selection
from .vectors import Vectors

__all__ = ['Running']


class Running:
    """The supernet at work: a model's own modules, called on parts of its tensors.

    Parameters
    ----------
    model
        The model.
    graph
        Its channel graph.
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph) -> None:
        self._model = model
        self._graph = graph
        self._memory = KeptMemory()
        self._found: _Found | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_found': None}  # copies look for themselves

    @property
    def _model_as_it_stands(self) -> _Found:
        if self._found is None or not self._found.places.still_there:
            self._found = _Found(self._model, self._graph)
        return self._found

    def use(self, selection: Selection) -> None:
        """Set the attributes of modules that follow a selection."""
        found = self._model_as_it_stands
        apply_attributes(self._model, found.attributes.values(selection.sizes, selection.runs), found.places)

    def call(self, tensors: dict[str, Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the model with some of its tensors replaced; ``tensors`` afterwards holds those it has set."""
        return call_with(self._model, tensors, args, kwargs, self._model_as_it_stands.places)

    def step(self, selection: Selection, args: tuple[Any, ...], kwargs: dict[str, Any], *, training: bool) -> Any:
        """Call the model on what is selected; gradients, and in training mode statistics, arrive in the model.

        In training mode what the model writes into buffers goes into copies first: autograd keeps the tensors that a
        forward used, and the full buffers change again before the backward of another channel set. Version counters do
        not tell which changed: batch normalisation leaves them as they were.
        """
        found = self._model_as_it_stands
        tensors = self._parameters(found, selection)
        buffers = found.places.buffers()
        if not training:
            tensors.update(
                (name, read(buffers[name], axes)) for name, axes in selection.axes.items() if name in buffers
            )
            return call_with(self._model, tensors, args, kwargs, found.places)
        copies = BufferCopies(found.statistics, buffers, selection)
        tensors.update(copies.made)
        output = call_with(self._model, tensors, args, kwargs, found.places)
        copies.write_back(tensors)
        return output

    def copies(self, selection: Selection) -> dict[str, Tensor]:
        """Return what is selected for many calls that leave the model alone: copies of buffers, no gradients.

        A convolution copies a view of its weight at every call: 6 % of a score of ResNet-18 on batches of 16 images.
        """
        found = self._model_as_it_stands
        with torch.no_grad():
            parts = self._parameters(found, selection)
            parameters = {name: part if part.is_contiguous() else part.clone() for name, part in parts.items()}
        return {**parameters, **BufferCopies(found.statistics, found.places.buffers(), selection).made}

    def _parameters(self, found: _Found, selection: Selection) -> dict[str, Tensor]:
        """Return the parameters that are not selected whole, so that gradients arrive in the model."""
        parameters = found.places.parameters()
        if not selection.axes:
            return {}
        if not _is_plain(parameters.values()):
            return {name: part for name, part in selection.slices(self._model).items() if name in parameters}
        parts: dict[str, Tensor] = {}
        in_chunks = torch.is_grad_enabled() and torch.distributed.is_available() and torch.distributed.is_initialized()
        for chunk in found.chunks if in_chunks else [found.whole]:
            parts.update(parts_of(chunk, parameters, selection, self._memory))
        return parts


class _Found:
    """What a model is made of, looked up once."""

    def __init__(self, model: nn.Module, graph: ChannelGraph) -> None:
        self.places = Places(model)
        self.attributes = FollowingAttributes(graph, self.places)
        parameters, buffers = self.places.parameters(), self.places.buffers()
        self.chunks = chunks_of(graph, parameters)
        self.whole = Chunk(graph, {name: parameter for name, parameter in parameters.items() if name in graph.dims})
        self.statistics = Vectors(
            graph, [name for name, buffer in buffers.items() if name in graph.dims and buffer.dim() == 1]
        )


class BufferCopies:
    """Copies of what is selected of a model's buffers, and their way back.

    Parameters
    ----------
    vectors
        Those that are vectors of channels.
    buffers
        ``{name: buffer}``, all of them.
    selection
        What is selected.

    Attributes
    ----------
    made : dict
        ``{name: copy}``.
    """

    @torch.no_grad()
    def __init__(self, vectors: Vectors, buffers: Mapping[str, Tensor], selection: Selection) -> None:
        joined = (
            vectors.names if len({(buffers[name].dtype, buffers[name].device) for name in vectors.names}) == 1 else ()
        )
        self._vectors = vectors.selected(selection) if joined else None
        self._joined = {name: buffers[name].detach() for name in joined}
        self._others = {name: buffer.detach() for name, buffer in buffers.items() if name not in self._joined}
        self._axes = [selection.axes.get(name, ()) for name in self._others]
        self.made: dict[str, Tensor] = {}
        if self._vectors is not None:
            self.made.update(zip(joined, self._vectors.read(list(self._joined.values()))))
        for (name, buffer), axes in zip(self._others.items(), self._axes):
            self.made[name] = read(buffer, axes).clone()

    @torch.no_grad()
    def write_back(self, tensors: Mapping[str, Tensor]) -> None:
        """Write ``{name: tensor}``, what the copies have become, to where they were selected."""
        if self._vectors is not None:
            self._vectors.write(list(self._joined.values()), [tensors[name].detach() for name in self._joined])
        write(list(self._others.values()), self._axes, [tensors[name].detach() for name in self._others])


def _is_plain(parameters: Iterable[Tensor]) -> bool:
    """Whether autograd as everybody uses it looks on: no transforms of functions, no tensors of other kinds."""
    transformed = torch._C._are_functorch_transforms_active() or torch.compiler.is_compiling()
    return not transformed and all(type(parameter) is nn.Parameter for parameter in parameters)
