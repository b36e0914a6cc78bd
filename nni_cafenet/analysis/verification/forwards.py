"""Run a model for a comparison: whole, with other values for its tensors, or on slices of them."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...graph import ChannelGraph, ExampleInput
from ...slicing import Positions, Selection, TensorSlots, call_with, open_index, take, using_attributes, using_mode
from ...utils import pass_on, tensors_in
from ..model_state import ModelState, untouched
from .macs import CountedForwards
from .noiseless import EvaluationNoise
from .overrides import InDouble, Transform, ValueOverride, changed, converted, precise_type, replaced
from .probe_values import centers_alone, check_device, probe_inputs, probe_tensors
from .replay import Decision, OpReplay

__all__ = ['Forwards']

_LARGE = 10**8
"""Parameters from which on orders of channels are compared in the model's own precision, not in float64."""

_COPIED_AT_ONCE = 10**7
"""Elements of a tensor from which on a slice is copied at once, not dimension by dimension."""


class Forwards:
    """Forwards of a model in evaluation mode, without gradients; the model is left as it was.

    Attributes
    ----------
    device
        See `check_device`. On the meta device only shapes can be compared.
    stand_ins
        See `probe_tensors`.
    counted
        MACs of forwards that were run anyway.

    With ``neighbors_apart``, kernels that slide along channels meet each channel alone. Then neither zeros nor another
    order of channels change what they compute of the others, and show whether channels are where the analysis thinks.
    """

    def __init__(
        self, model: nn.Module, graph: ChannelGraph, example: ExampleInput, *, neighbors_apart: bool = False
    ) -> None:
        self.model = model
        self.recorded = graph.value_dependent_sizes
        self.device = check_device(model)
        self.stand_ins = probe_tensors(model, self.device)
        if neighbors_apart and self.device.type != 'meta':
            self.stand_ins |= centers_alone(model, graph.channel_kernels, self.stand_ins)
        without_values = any(tensor.is_meta for tensor in model.parameters())
        self.example = probe_inputs(example, self.device) if without_values else example
        # Other decisions cost other MACs, and several samples may share a part of theirs.
        self.counted = CountedForwards(enabled=not graph.value_dependent_sizes and self.example.batch_size <= 1)
        self._stand_in = replaced(self.stand_ins)
        self._whole: dict[torch.dtype | None, list[Tensor]] = {}
        self._decisions: dict[torch.dtype | None, list[Decision]] = {}
        self._slots = TensorSlots(model)
        self._state: ModelState | None = None
        self._last_dtype: torch.dtype | None = None
        self._kept_slices: _KeptSlices | None = None
        self._evaluation_noise = EvaluationNoise()
        self._watched = _layers_of_fixed_width(graph, self._slots.modules) if graph.value_dependent_sizes else []

    # --- the two ways to run the model ----------------------------------------------------------

    def outputs(self, dtype: torch.dtype | None, *changes: Transform) -> list[Tensor]:
        """Run the whole model in some precision, with other values for its tensors."""
        self._switch_to(dtype)
        example = self.example_in(dtype)
        every = (self._stand_in, *changes, *(() if dtype is None else (converted(dtype),)))
        slots = self._current_slots
        buffers = {name: changed(name, buffer, *every).clone() for name, buffer in slots.buffers().items()}
        with _precision(dtype), self._noise(), ValueOverride(slots.parameters(), *every):
            return self._tensors_of(lambda: call_with(self.model, buffers, example.args, example.kwargs, slots))

    def run_slices(
        self,
        graph: ChannelGraph,
        sets: Mapping[str, Any],
        example: ExampleInput,
        dtype: torch.dtype | None = None,
        change: Transform | None = None,
        watch: contextlib.AbstractContextManager[Any] | None = None,
        instead: Callable[[], object] | None = None,
    ) -> Any:
        """Call the model on the slices that channel sets select, inside ``watch``; its buffers stay as they are.

        ``instead``: called with the slices in place, instead of the model.
        """
        self._switch_to(dtype)
        selection = Selection(graph, sets)
        slots = self._current_slots
        buffers = slots.buffers()
        sliced = self._slices(selection, slots, sets, dtype, change)
        sliced.update({name: sliced[name].clone() for name in buffers}, **selection.tables(buffers))
        inputs = example.fresh()
        with (
            using_attributes(self.model, selection.attributes(self.model, slots)),
            _precision(dtype),
            self._noise(),
            watch or contextlib.nullcontext(),
        ):
            if instead is not None:
                with slots.replaced(sliced):
                    return instead()
            return call_with(self.model, sliced, inputs.args, inputs.kwargs, slots)

    # --- what is built on them ------------------------------------------------------------------

    def whole(self, dtype: torch.dtype | None) -> list[Tensor]:
        """Return the outputs of the full model in some precision; it is run once."""
        if dtype not in self._whole:
            watching = contextlib.nullcontext() if self._state is None else self._state.watching()
            with self.replaying() as decisions, self.counted.counting({}), watching:
                self._whole[dtype] = self.outputs(dtype)
            self._evaluation_noise.note_whole_run()
            self._decisions[dtype] = decisions.taken
        return self._whole[dtype]

    def decisions(self, dtype: torch.dtype | None) -> Sequence[Decision]:
        """Return the decisions that the full model took in some precision."""
        return self._decisions.get(dtype, ())

    def forget(self) -> None:
        """Run the full model again when it is asked for next."""
        self._whole.clear()
        self._decisions.clear()

    def sliced(
        self,
        graph: ChannelGraph,
        sets: Mapping[str, Any],
        dtype: torch.dtype | None,
        change: Transform | None = None,
    ) -> list[Tensor]:
        """Return the outputs on slices in some precision."""
        return self._tensors_of(lambda: self.run_slices(graph, sets, self.example_in(dtype), dtype, change))

    @cached_property
    def precise(self) -> torch.dtype | None:
        """float64; None, the model's own precision, where its code does not run in it."""
        return torch.float64 if self._runs_in(torch.float64) else None

    @cached_property
    def order_precision(self) -> torch.dtype | None:
        """The precision in which orders of channels are compared; None for the model's own."""
        parameters = list(self.model.parameters())
        small = sum(parameter.numel() for parameter in parameters) < _LARGE
        if (small or self.recorded) and self.precise is not None:
            return self.precise
        half = any(parameter.dtype in (torch.float16, torch.bfloat16) for parameter in parameters)
        return torch.float32 if half and self._runs_in(torch.float32) else None

    def _runs_in(self, dtype: torch.dtype) -> bool:
        try:
            self.whole(dtype)
        except Exception as error:  # noqa: BLE001 - the user's code may insist on a precision
            pass_on(error, memory=False)
            return False
        return True

    def example_in(self, dtype: torch.dtype | None) -> ExampleInput:
        """Return a copy of the example in some precision."""
        return self.example.map(lambda tensor: tensor.detach().to(precise_type(tensor, dtype), copy=True))

    def _slices(
        self,
        selection: Selection,
        slots: TensorSlots,
        sets: Mapping[str, Any],
        dtype: torch.dtype | None,
        change: Transform | None,
    ) -> dict[str, Tensor]:
        """Return slices of all tensors by name; inside `keeping_slices`, those of the same sets again."""
        key = (selection.graph.dims, selection.graph.layouts, sets, slots)
        kept = self._kept_slices if dtype is None and change is None else None
        if kept is not None and len(kept.key) == len(key) and all(map(operator.is_, key, kept.key)):
            return dict(kept.slices)
        changes = [self._stand_in] if change is None else [self._stand_in, change]
        sliced = {
            name: _slice(changed(name, tensor.detach(), *changes), selection.positions.get(name, ()))
            for name, tensor in [*slots.parameters().items(), *slots.buffers().items()]
        }
        if dtype is not None:
            sliced = {name: converted(dtype)(name, tensor) for name, tensor in sliced.items()}
        if kept is not None:
            self._kept_slices = _KeptSlices(key, dict(sliced))
        return sliced

    # --- what surrounds a run -------------------------------------------------------------------

    @contextlib.contextmanager
    def keeping_slices(self) -> Iterator[None]:
        """Slice once for calls of `run_slices` that follow each other and differ in the attributes of modules alone."""
        self._kept_slices = _KeptSlices((), {})
        try:
            yield
        finally:
            self._kept_slices = None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Put the model into evaluation mode for a block; it is left as it was, even if the block fails."""
        with using_mode(self.model, training=False), torch.no_grad(), untouched(self.model) as state:
            self._state, self._last_dtype = state, None
            yield

    @contextlib.contextmanager
    def replaying(self, taken: Sequence[Decision] = ()) -> Iterator[OpReplay]:
        """Record the decisions of a run, or repeat those taken, if the sizes of outputs depend on values."""
        decisions = OpReplay(taken)
        with decisions if self.recorded else contextlib.nullcontext():
            yield decisions

    def _noise(self) -> contextlib.AbstractContextManager[Any]:
        """Return what every run is made inside of, so that random numbers do not depend on a width."""
        return self._evaluation_noise.left_out()

    def _switch_to(self, dtype: torch.dtype | None) -> None:
        """Drop what forwards in another precision have left in the model's attributes."""
        if dtype != self._last_dtype and self._state is not None:
            self._state.restore()
        self._last_dtype = dtype

    @property
    def _current_slots(self) -> TensorSlots:
        """Where the model's tensors are; a forward may have put other modules into it."""
        if not self._slots.is_current:
            self._slots = TensorSlots(self.model)
        return self._slots

    def _tensors_of(self, call: Any) -> list[Tensor]:
        """Return the outputs that count of a call of the model, complex ones as pairs of numbers.

        Where a detector finds nothing they are empty: the outputs of its layers of fixed width are returned as well.
        """
        seen: list[Any] = []
        hooks = [
            layer.register_forward_hook(lambda module, args, output: seen.append(output)) for layer in self._watched
        ]
        try:
            output = call()
        finally:
            for hook in hooks:
                hook.remove()
        found = [*(tensor for _, tensor in self.example.outputs_in(output)), *tensors_in(seen)]
        return [torch.view_as_real(leaf.resolve_conj()) if leaf.is_complex() else leaf for leaf in found]


def _layers_of_fixed_width(graph: ChannelGraph, modules: Mapping[str, nn.Module]) -> list[nn.Module]:
    """Return layers that always have the same outputs; what the analysis has fixed may be another dimension of a layer."""
    growing = {name.rpartition('.')[0] for name, indices in graph.dims.items() if indices and indices[0] is not None}
    return [
        modules[record.label]
        for record in graph.fixed
        if record.label in modules and not any(f'{path}.'.startswith(f'{record.label}.') for path in growing)
    ]


class _KeptSlices(NamedTuple):
    """Slices of all tensors, by name, and what they were made from."""

    key: tuple[object, ...]
    slices: dict[str, Tensor]


def _precision(dtype: torch.dtype | None) -> contextlib.AbstractContextManager[Any]:
    return InDouble() if dtype is torch.float64 else contextlib.nullcontext()


def _slice(tensor: Tensor, positions: Positions) -> Tensor:
    """Return some positions of every dimension, as `take` does.

    At once where the tensor is large, without a copy in between: 205 MB for the first linear layer of VGG-16.
    """
    if tensor.numel() < _COPIED_AT_ONCE or sum(chosen is not None for chosen in positions) < 2:
        return take(tensor, positions)
    return tensor[open_index(tensor, positions)]
