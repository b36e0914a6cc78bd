"""The operators of a model: from a run on the meta device, else exported, else recorded in one real run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import fx, nn
from torch.export.graph_signature import InputKind

from ...errors import TraceError, first_line
from ...graph import ExampleInput
from ...utils import pass_on, suppress_torch_output
from ..model_state import untouched
from ..running_modules import running_modules
from .flat_model import FlatModel
from .meta_run import ListedOperators, run_on_meta, sizes_depend_on_values
from .opaque_modules import opaque_modules
from .recorded_run import record, values_seen

__all__ = ['Operators', 'operators_of', 'shapes_of']

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Operators:
    """The operators of a model as a graph.

    Parameters
    ----------
    module
        The graph of ATen operators; a node's ``meta['val']`` holds the shapes of its outputs.
    tensors
        ``{placeholder: name of the parameter or buffer}``.
    constants
        ``{placeholder: tensor that the model's code made or holds}``.
    recorded
        Whether the operators were recorded in one real run: the sizes of outputs may depend on values.
    outputs
        Paths of what is returned, in the model's output.
    after_values
        Nodes that run after the model's Python code has seen values; in a recorded graph only.
    """

    module: fx.GraphModule | ListedOperators
    tensors: Mapping[str, str]
    constants: Mapping[str, torch.Tensor] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    recorded: bool = False
    after_values: frozenset[fx.Node] = frozenset()


def operators_of(model: nn.Module, example: ExampleInput, opaque: Sequence[str] = ()) -> Operators:
    """Return the operators of a model in the mode in which it is.

    Raises
    ------
    nni_cafenet.errors.TraceError
        If the model does not run on the example, or its operators depend on values that Python reads.
    """
    listed = run_on_meta(model, example)
    if listed is not None:
        return Operators(*listed, outputs=listed[0].outputs)
    if not opaque and sizes_depend_on_values(model, example):
        recorded = _recorded(model, example)
        if recorded is not None:
            return recorded
    try:
        with suppress_torch_output(), untouched(model):
            calls = FlatModel(model, example)
            program = torch.export.export(calls, calls.tensors, strict=False)
            for node in program.graph_module.graph.nodes:
                shapes_of(node)  # an export may leave sizes open
    except Exception as error:
        pass_on(error)
        _check_runs(model, example)
        if opaque:
            with opaque_modules(model, example, opaque):
                return operators_of(model, example)
        recorded = _recorded(model, example)
        if recorded is not None:
            return recorded
        raise _rejection(model, error) from error
    tensors = {
        spec.arg.name: spec.target.removeprefix(FlatModel.PREFIX)
        for spec in program.graph_signature.input_specs
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER) and spec.target is not None
    }
    constants = {
        spec.arg.name: program.constants[spec.target]
        for spec in program.graph_signature.input_specs
        if spec.kind is InputKind.CONSTANT_TENSOR and spec.target in program.constants
    }
    return Operators(program.graph_module, tensors, constants, calls.outputs)


def shapes_of(node: fx.Node) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of a node's outputs that are tensors; raises where a size depends on values."""
    value = node.meta.get('val')
    outputs = value if isinstance(value, (list, tuple)) else [value]
    return tuple(tuple(int(s) for s in output.shape) for output in outputs if isinstance(output, torch.Tensor))


def _recorded(model: nn.Module, example: ExampleInput) -> Operators | None:
    """Record one real run; None if it may branch otherwise for other values."""
    try:
        with suppress_torch_output(), untouched(model) as state, state.watching():
            module, tensors, outputs = record(model, example)
    except Exception as error:  # noqa: BLE001 - the user's code may do anything; the failed export is reported instead
        pass_on(error)
        _logger.info('%s could not be recorded either: %s', type(model).__name__, first_line(error))
        return None
    after = frozenset(values_seen(module.graph))
    parameters = {name for name, _ in model.named_parameters()}
    for node in module.graph.nodes:
        if (
            after
            and tensors.get(node.name) in parameters
            and (not node.users or any(user in after for user in node.users))
        ):
            return None
    return Operators(module, tensors, {}, outputs, True, after)


def _rejection(model: nn.Module, error: Exception) -> TraceError:
    part = _failing_part(model, error)
    where = f'its part {part!r}' if part else 'it'
    remedy = (
        f'Leave that part whole with exclude=[{part!r}], or build the space from a sub-module without it.'
        if part
        else 'Build the space from a sub-module that can be exported, without Python control flow on values.'
    )
    return TraceError(
        f'The model {type(model).__name__} cannot be analyzed: torch.export rejects {where} with '
        f'{type(error).__name__}: {first_line(error)}. {remedy}'
    )


def _check_runs(model: nn.Module, example: ExampleInput) -> None:
    """Raise if the model rejects the example input, which is no problem of the export."""
    example = example.fresh()
    try:
        with torch.no_grad(), untouched(model) as state, state.watching():
            model(*example.args, **example.kwargs)
    except Exception as error:
        pass_on(error)
        mode = ' in training mode' if model.training else ''
        raise TraceError(
            f'example_input ({example.describe()}) is rejected by the model {type(model).__name__}{mode}: '
            f'{type(error).__name__}: {first_line(error)}. Give an input that model(example_input) accepts{mode}.'
        ) from error


def _failing_part(model: nn.Module, error: BaseException) -> str:
    """Name the innermost sub-module whose forward is on the stack of an error."""
    return next((path for path in running_modules(error, model) if path), '')
