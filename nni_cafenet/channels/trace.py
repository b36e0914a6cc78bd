"""From a model and an example input to its channel graph, through the ATen graph of ``torch.export``."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.export.graph_signature import InputKind

from ..errors import TraceError
from .constraints import Constraints, Dim, Symbol
from .declared import follow_sizes
from .graph import ChannelGraph
from .grouping import group_channels
from .inputs import ExampleInput
from .opaque import layers_with_rules, opaque_parts
from .rules import Call, find_rule

__all__ = ['follow', 'parameter_names', 'trace', 'using_mode']

_logger = logging.getLogger(__name__)


def trace(model: nn.Module, example: ExampleInput, opaque: Sequence[str] = ()) -> ChannelGraph:
    """Analyse a model: which channels must change together, what each layer reads, and what it costs.

    The model is followed in evaluation mode, which also gives the costs. Where parameters are left that only training
    uses (auxiliary heads), it is followed in training mode as well.

    Parameters
    ----------
    model
        Any module that ``torch.export`` accepts. It is left as it was.
    example
        What it is called with.
    opaque
        Sub-modules that may stay whole where the model cannot be exported with them (see `opaque_parts`).

    Returns
    -------
    The channel graph, not yet held against real forwards (see `verify`).

    Raises
    ------
    nni_cafenet.errors.TraceError
        If the model does not run on the example, or cannot be exported.
    """
    return group_channels(follow(model, example, opaque), parameter_names(model), example.batch_size)


def follow(model: nn.Module, example: ExampleInput, opaque: Sequence[str] = ()) -> Constraints:
    """Collect what the rules state about a model; as `trace`, not solved yet."""
    constraints = Constraints()
    names = _register_tensors(model, constraints)
    with using_mode(model, training=False), layers_with_rules(model, example) as owned:
        seen = _follow(model, example, opaque, constraints, names) | owned
    costs, constraints.costs = constraints.costs, []
    if any(name not in seen for name, _ in model.named_parameters()):
        two = example.with_batch_of_two()
        with using_mode(model, training=True), _keeping_buffers(model), layers_with_rules(model, two) as owned:
            seen |= _follow(model, two, opaque, constraints, names) | owned
    for name, symbol in constraints.parameters.items():
        if name not in seen:
            for dim in symbol.dims:
                constraints.fix(dim, 'is not used by the model')
    constraints.costs = costs
    follow_sizes(constraints, model, names)
    return constraints


def parameter_names(model: nn.Module) -> list[str]:
    """Name the parameters, each tensor once."""
    return [name for name, _ in model.named_parameters()]


def _register_tensors(model: nn.Module, constraints: Constraints) -> dict[str, str]:
    """Register parameters and buffers; return the one name that stands for each (tied tensors share one)."""
    first: dict[int, str] = {}
    names: dict[str, str] = {}
    both = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    for name, tensor in both:
        names[name] = first.setdefault(id(tensor), name)
        constraints.parameter(names[name], tensor.shape)
    return names


@contextlib.contextmanager
def using_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Put every module of a model into a mode, and back into its own afterwards."""
    before = [(module, module.training) for module in model.modules()]
    try:
        model.train(training)
        yield
    finally:
        for module, mode in before:
            module.training = mode


@contextlib.contextmanager
def _keeping_buffers(model: nn.Module) -> Iterator[None]:
    """Undo what real forwards in training mode write into buffers; they are run where an export fails."""
    before = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, values in before:
                buffer.copy_(values)


def _follow(
    model: nn.Module, example: ExampleInput, opaque: Sequence[str], constraints: Constraints, names: dict[str, str]
) -> set[str]:
    """Run the rules over every operator of the model's graph; return the names of the tensors that it uses."""
    program = _export(model, example, opaque)
    kinds = {spec.arg.name: spec for spec in program.graph_signature.input_specs if hasattr(spec.arg, 'name')}
    modules = dict(model.named_modules(remove_duplicate=False))
    values: dict[fx.Node, Any] = {}
    seen: set[str] = set()
    for node in program.graph.nodes:
        if node.op == 'placeholder':
            spec = kinds.get(node.name)
            name = names.get(spec.target) if spec is not None and spec.target is not None else None
            if name is not None and spec is not None and spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
                values[node] = constraints.parameters[name]
                seen.update({name, str(spec.target)} if node.users else ())
            else:
                values[node] = _constant(node)
        elif node.op == 'call_function':
            values[node] = _apply(node, values, constraints, modules)
        elif node.op == 'output':
            for symbol in _symbols(fx.node.map_arg(node.args, lambda n: values[n])):
                for dim in symbol.dims:
                    constraints.fix(dim, 'is an output of the model')
        else:
            values[node] = _constant(node)
    return seen


def _apply(
    node: fx.Node, values: dict[fx.Node, Any], constraints: Constraints, modules: dict[str, nn.Module]
) -> Symbol | list[Symbol] | None:
    """Run the rule of one operator."""
    operator = str(node.target)
    arguments: Any = fx.node.map_arg(node.args, lambda n: values[n])
    keywords: Any = fx.node.map_arg(node.kwargs, lambda n: values[n])
    if operator == '<built-in function getitem>':
        source: Any = arguments[0]
        index: Any = arguments[1]
        return source[index] if isinstance(source, (list, tuple)) else source  # type: ignore[no-any-return]
    if isinstance(node.target, torch._ops.OpOverload):
        operator = operator.rpartition('.')[0]
    shapes = _shapes(node)
    if not shapes:
        return None
    several = isinstance(node.meta['val'], (list, tuple))
    call = Call(constraints, operator, shapes, modules)
    results = _run_rule(call, several, arguments, keywords)
    made = [Symbol(shape, tuple(dims)) for shape, dims in zip(shapes, results)]
    return made if several else made[0]


def _run_rule(call: Call, several: bool, arguments: Any, keywords: Any) -> Sequence[Sequence[Dim]]:
    """Return the dims of every output; without a rule that works, fix what the operator touches."""
    rule = find_rule(call.operator)
    problem = 'which has no rule'
    if rule is not None:
        try:
            outputs = rule(call, *arguments, **keywords)
            results = list(outputs) if several else [outputs]
            if [len(dims) for dims in results] == [len(shape) for shape in call.shapes]:
                return results
            problem = 'whose rule does not give one dim for every dimension of its outputs'
        except Exception as error:  # noqa: BLE001 - rules may be the user's
            problem = f'whose rule failed with {type(error).__name__}: {_first_line(error)}'
        _logger.warning('The operator %s keeps the channels that reach it: it is one %s.', call.operator, problem)
    for symbol in _symbols((arguments, keywords)):
        call.fix(*symbol.dims, reason=f'reaches {call.operator}, {problem}')
    return [(None,) * len(shape) for shape in call.shapes]


def _shapes(node: fx.Node) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of a node's outputs that are tensors."""
    value = node.meta.get('val')
    outputs = value if isinstance(value, (list, tuple)) else [value]
    return tuple(tuple(int(s) for s in output.shape) for output in outputs if isinstance(output, torch.Tensor))


def _constant(node: fx.Node) -> Symbol | None:
    shapes = _shapes(node)
    return Symbol.constant(shapes[0]) if shapes else None


def _symbols(values: Any) -> list[Symbol]:
    leaves = torch.utils._pytree.tree_leaves(values, is_leaf=lambda leaf: isinstance(leaf, Symbol))
    return [leaf for leaf in leaves if isinstance(leaf, Symbol)]


def _export(model: nn.Module, example: ExampleInput, opaque: Sequence[str]) -> torch.export.ExportedProgram:
    """Export a model, with errors that say what to do about it."""
    try:
        with _silence():
            return torch.export.export(model, example.args, example.kwargs or None, strict=False)
    except Exception as error:
        _check_runs(model, example)
        if opaque:
            with opaque_parts(model, example, opaque):
                return _export(model, example, ())
        part = _failing_part(model, error)
        where = f'its part {part!r}' if part else 'it'
        remedy = (
            f'Leave that part whole with exclude=[{part!r}], or build the space from a sub-module without it.'
            if part
            else 'Build the space from a sub-module that can be exported, without Python control flow on values.'
        )
        raise TraceError(
            f'The model {type(model).__name__} cannot be analysed: torch.export rejects {where} with '
            f'{type(error).__name__}: {_first_line(error)}. {remedy}'
        ) from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what torch prints and logs of a failed export to itself: the exception says it again."""
    torch_logs = logging.getLogger('torch')
    level = torch_logs.level
    try:
        torch_logs.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), io.StringIO() as sink:
            warnings.simplefilter('ignore')
            with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
                yield
    finally:
        torch_logs.setLevel(level)


def _check_runs(model: nn.Module, example: ExampleInput) -> None:
    """Tell an example input that the model rejects from a model that cannot be exported."""
    try:
        with torch.no_grad():
            model(*example.args, **example.kwargs)
    except Exception as error:
        raise TraceError(
            f'example_input ({example.describe()}) is rejected by the model {type(model).__name__}: '
            f'{type(error).__name__}: {_first_line(error)}. Give an input that model(example_input) accepts.'
        ) from error


def _failing_part(model: nn.Module, error: BaseException) -> str:
    """Name the innermost sub-module whose forward is on the stack of an error."""
    names = {id(module): name for name, module in model.named_modules()}
    found = ''
    frames = error.__traceback__
    while frames is not None:
        owner = frames.tb_frame.f_locals.get('self')
        if isinstance(owner, nn.Module):
            found = names.get(id(owner), '') or found
        frames = frames.tb_next
    return found


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ['no message'])[0][:300]
