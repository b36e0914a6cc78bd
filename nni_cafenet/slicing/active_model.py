"""The supernet at work: a model's own modules, called on slices of its tensors.

This file is the slow path and complete. ``fast_step`` computes the same bits in less time; without that folder, or with
``FastStep = None`` here, everything works.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..graph import ChannelGraph
from ..utils import copy_each, is_transformed
from .attributes import Containers, WidthAttributes
from .memory_layout import shares_memory
from .module_call import apply_attributes
from .recomputation import RecomputationCheck, recomputing
from .selection import Selection, put, take
from .tensor_slots import TensorSlots

try:
    from .fast_step import FastStep
except ImportError:  # the folder was deleted
    FastStep = None  # type: ignore[assignment, misc]

__all__ = ['ActiveModel']


class ActiveModel:
    """A model that runs on one selection of its channels after another.

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
        self._known_slots: TensorSlots | None = None
        self._attributes: WidthAttributes | None = None
        self._containers: Containers | None = None
        self._selected: Selection | None = None
        self._check: RecomputationCheck | None = None
        self._fast_step: FastStep | None = None

    def __getstate__(self) -> dict[str, Any]:
        found = ('_known_slots', '_attributes', '_containers', '_selected', '_check', '_fast_step')
        return {**self.__dict__, **dict.fromkeys(found)}  # copies find their own

    def select(self, selection: Selection) -> None:
        """Set the attributes of modules that follow widths, such as ``out_channels``."""
        slots, attributes = self._slots_and_attributes()
        self._selected = selection
        attributes.set_numbers(selection.sizes)
        others = attributes.others(selection.sizes, selection.runs)
        apply_attributes(self._model, selection.with_tables(others, slots.modules), slots)

    def call(self, selection: Selection, args: tuple[Any, ...], kwargs: dict[str, Any], *, training: bool) -> Any:
        """Call the model on slices of its tensors.

        Autograd carries gradients from the slices to the full parameters. In training mode the model writes to copies of
        its buffers, which then return to the full ones: autograd saves the tensors of a forward, and the full buffers
        change again before the backward of another channel set.
        """
        slots, _ = self._slots_and_attributes()
        parameters, buffers = slots.parameters(), slots.buffers()
        tables = selection.tables(buffers)
        buffers = {name: buffer for name, buffer in buffers.items() if name not in tables} if tables else buffers
        step = self._step(parameters)
        slices = step.slices(parameters, selection)

        def run(forward: Callable[[], Any]) -> Any:
            copies = step.buffer_copies(buffers, selection) if training else None
            tensors = {**slices, **(copies.tensors if copies else step.buffer_views(buffers, selection)), **tables}
            try:
                with slots.replaced(tensors):
                    return forward()
            finally:
                if copies:
                    copies.write_back(tensors)

        if not selection.is_whole and torch.is_grad_enabled():
            self._check = self._check or RecomputationCheck(self._model)
            self._check.before_step()
        with recomputing(lambda forward: self._recompute(selection, lambda: run(forward))):
            return run(lambda: self._model(*args, **kwargs))

    def _recompute(self, selection: Selection, run: Callable[[], Any]) -> Any:
        """Run a checkpointed part of an earlier forward again, whatever was selected since.

        Running statistics are updated a second time, as in any model with gradient checkpointing.
        """
        active = self._selected
        if active is selection or active is None:
            return run()
        self.select(selection)
        try:
            return run()
        finally:
            self.select(active)

    @contextlib.contextmanager
    def prepared(self, selection: Selection) -> Iterator[Mapping[str, Tensor]]:
        """Put slices into the model for many calls without gradients; what these write to buffers stays in copies.

        The block gets ``{name: tensor}`` of what is in the model. Slices are contiguous, since a convolution copies any
        other weight at every call.
        """
        slots, _ = self._slots_and_attributes()
        parameters, buffers = slots.parameters(), slots.buffers()
        tables = selection.tables(buffers)
        step = self._step(parameters)
        with torch.no_grad():
            slices = step.slices(parameters, selection)
            tensors = {name: each if each.is_contiguous() else each.clone() for name, each in slices.items()}
        with slots.replaced({**tensors, **step.buffer_copies(buffers, selection).tensors, **tables}) as present:
            yield present

    def _step(self, parameters: Mapping[str, Tensor]) -> SlowStep | FastStep:
        if FastStep is None or not _is_plain(parameters.values()):
            return SlowStep()
        self._fast_step = self._fast_step or FastStep(self._graph)
        return self._fast_step

    def _slots_and_attributes(self) -> tuple[TensorSlots, WidthAttributes]:
        """Return where the tensors of the model are, and its attributes: found anew after modules were replaced."""
        if self._known_slots is None or self._attributes is None or not self._known_slots.is_current:
            self._known_slots = TensorSlots(self._model)
            self._containers = self._containers or Containers()
            self._attributes = WidthAttributes(self._graph, self._known_slots, self._containers)
        return self._known_slots, self._attributes


class SlowStep:
    """Slices of parameters and buffers by plain torch."""

    def slices(self, tensors: Mapping[str, Tensor], selection: Selection) -> dict[str, Tensor]:
        """Return ``{name: slice}`` of the tensors that are not selected whole; autograd follows."""
        return {name: take(tensors[name], selection.positions[name]) for name in selection.axes if name in tensors}

    buffer_views = slices

    def buffer_copies(self, buffers: Mapping[str, Tensor], selection: Selection) -> _BufferCopies:
        """Return copies of all buffers, of what is selected of each."""
        return _BufferCopies(buffers, selection)


class _BufferCopies:
    @torch.no_grad()
    def __init__(self, buffers: Mapping[str, Tensor], selection: Selection) -> None:
        self._buffers = buffers
        self._positions = {name: selection.positions.get(name, ()) for name in buffers}
        self.tensors = {name: take(buffer, self._positions[name]).clone() for name, buffer in buffers.items()}

    @torch.no_grad()
    def write_back(self, tensors: Mapping[str, Tensor]) -> None:
        names = [name for name, buffer in self._buffers.items() if not shares_memory(buffer)]  # not expanded constants
        wholes = [self._buffers[name].clone() for name in names]
        for name, whole in zip(names, wholes):
            put(whole, self._positions[name], tensors[name])
        if names:
            copy_each([self._buffers[name] for name in names], wholes)  # torch.func refuses to index these


def _is_plain(parameters: Iterable[Tensor]) -> bool:
    """Whether the fast step is safe: no functorch transform, no torch.compile, plain ``nn.Parameter`` only."""
    transformed = is_transformed() or torch.compiler.is_compiling()
    return not transformed and all(type(parameter) is nn.Parameter for parameter in parameters)
