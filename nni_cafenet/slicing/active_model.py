"""A model that runs on one selection after the other: the work of every step, and no more than that."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from ..graph import ChannelGraph
from .attributes import FollowingAttributes
from .fast_step.autograd import ParameterBlock, blocks_of
from .fast_step.buffers import BufferCopies, Buffers
from .index_runs import read
from .module_call import apply_attributes
from .recomputation import RecomputationCheck, recomputing
from .selection import Selection
from .tensor_slots import TensorSlots

__all__ = ['ActiveModel']


class ActiveModel:
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
        self._modules: _Modules | None = None
        self._tensors: _Tensors | None = None
        self._used: Selection | None = None
        self._check: RecomputationCheck | None = None

    def __getstate__(self) -> dict[str, Any]:
        own = dict.fromkeys(('_modules', '_tensors', '_used', '_check'))  # copies look for themselves
        return {**self.__dict__, **own}

    def select(self, selection: Selection) -> None:
        """Set the attributes of modules that follow a selection."""
        self._used = selection
        modules = self._modules_as_they_stand
        modules.attributes.set_numbers(selection.sizes)
        others = modules.attributes.others(selection.sizes, selection.runs)
        apply_attributes(self._model, others, modules.places)

    def call(self, selection: Selection, args: tuple[Any, ...], kwargs: dict[str, Any], *, training: bool) -> Any:
        """Call the model on what is selected; gradients, and in training mode statistics, arrive in the model.

        In training mode what the model writes into buffers goes into copies first: autograd keeps the tensors that a
        forward used, and the full buffers change again before the backward of another channel set. Version counters do
        not tell which changed: batch normalization leaves them as they were.
        """
        places = self._modules_as_they_stand.places
        parameters, buffers = places.parameters(), places.buffers()
        own = self._tensors_as_they_stand(parameters, buffers)
        parts = self._parts(own, parameters, selection)

        def run(call: Callable[[], Any]) -> Any:
            present, copies = self._buffers(own, buffers, selection, training)
            tensors = {**parts, **present}
            try:
                with places.replaced(tensors):
                    return call()
            finally:
                if copies is not None:
                    copies.write_back(tensors)

        if not selection.is_whole and torch.is_grad_enabled():
            self._check = self._check or RecomputationCheck(self._model)
            self._check.before_step()
        with recomputing(lambda call: self._again(selection, lambda: run(call))):
            return run(lambda: self._model(*args, **kwargs))

    def _buffers(
        self, own: _Tensors, buffers: Mapping[str, Tensor], selection: Selection, training: bool
    ) -> tuple[dict[str, Tensor], BufferCopies | None]:
        """Return what is selected of the buffers; in training mode copies, and what brings them back."""
        if training:
            copies = BufferCopies(own.buffers, buffers, selection)
            return copies.made, copies
        return {name: read(buffers[name], axes) for name, axes in selection.axes.items() if name in buffers}, None

    def _again(self, selection: Selection, run: Callable[[], Any]) -> Any:
        """Run a part of an earlier forward again, which the backward asks for, whatever has become active since.

        Running statistics are updated a second time, as in any model with gradient checkpointing.
        """
        active = self._used
        if active is selection or active is None:
            return run()
        self.select(selection)
        try:
            return run()
        finally:
            self.select(active)

    @contextlib.contextmanager
    def prepared(self, selection: Selection) -> Iterator[Mapping[str, Tensor]]:
        """Put what is selected into the model for the length of a block: copies of buffers, no gradients.

        The block gets ``{name: what now stands in the model}``. A convolution copies a view of its weight at every call:
        6 % of a score of ResNet-18 on batches of 16 images.
        """
        places = self._modules_as_they_stand.places
        parameters, buffers = places.parameters(), places.buffers()
        own = self._tensors_as_they_stand(parameters, buffers)
        with torch.no_grad():
            parts = self._parts(own, parameters, selection)
            made = {name: part if part.is_contiguous() else part.clone() for name, part in parts.items()}
        with places.replaced({**made, **BufferCopies(own.buffers, buffers, selection).made}) as standing:
            yield standing

    def _parts(self, own: _Tensors, parameters: Mapping[str, Tensor], selection: Selection) -> dict[str, Tensor]:
        """Return the parameters that are not selected whole, so that gradients arrive in the model."""
        if selection.is_whole:
            return {}
        if not _is_plain(parameters.values()):
            return {name: part for name, part in selection.slices(self._model).items() if name in parameters}
        in_chunks = torch.is_grad_enabled() and torch.distributed.is_available() and torch.distributed.is_initialized()
        parts: dict[str, Tensor] = {}
        for chunk in own.chunks(parameters, several=in_chunks):
            parts.update(chunk.parts(parameters, selection))
        return parts

    @property
    def _modules_as_they_stand(self) -> _Modules:
        if self._modules is None or not self._modules.places.still_there:
            self._modules = _Modules(self._model, self._graph)
        return self._modules

    def _tensors_as_they_stand(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> _Tensors:
        kinds: list[Any] = [each.dtype for own in (parameters, buffers) for each in own.values()]
        kinds += [each.device for each in parameters.values()]
        if self._tensors is None or self._tensors.kinds != kinds:
            self._tensors = _Tensors(self._graph, buffers, kinds)
        return self._tensors


class _Modules:
    """The modules of a model: where their tensors stand, and their attributes."""

    def __init__(self, model: nn.Module, graph: ChannelGraph) -> None:
        self.places = TensorSlots(model)
        self.attributes = FollowingAttributes(graph, self.places)


class _Tensors:
    """How the tensors of a model are read and written, as long as they are of the same kinds."""

    def __init__(self, graph: ChannelGraph, buffers: Mapping[str, Tensor], kinds: list[Any]) -> None:
        self.kinds = kinds
        self.buffers = Buffers(graph, buffers)
        self._graph = graph
        self._chunks: dict[bool, list[ParameterBlock]] = {}

    def chunks(self, parameters: Mapping[str, Tensor], *, several: bool) -> list[ParameterBlock]:
        """Return the parameters that the graph knows as one chunk, or as several."""
        if several not in self._chunks:
            known = {name: parameter for name, parameter in parameters.items() if name in self._graph.dims}
            self._chunks[several] = blocks_of(self._graph, known) if several else [ParameterBlock(self._graph, known)]
        return self._chunks[several]


def _is_plain(parameters: Iterable[Tensor]) -> bool:
    """Whether autograd as everybody uses it looks on: no transforms of functions, no tensors of other kinds."""
    transformed = torch._C._are_functorch_transforms_active() or torch.compiler.is_compiling()
    return not transformed and all(type(parameter) is nn.Parameter for parameter in parameters)
