"""Follow the operators of a model, rule by rule, and collect what the rules state."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from ..errors import TraceError, first_line
from ..graph import ChannelGraph, ExampleInput
from ..slicing import put, using_mode
from ..utils import ConvNd, pass_on
from .choices import settle
from .constraints import Constraints, Dim, Symbol, layer_of
from .grouping import group_channels
from .model_state import untouched
from .rules import Call, ConstantIndex, Rule, find_rule, follow_sizes
from .tracing import (
    ConstantIndices,
    ListedOperators,
    layers_with_rules,
    may_read_mode,
    operators_of,
    run_on_meta,
    same_operators,
    shapes_of,
)
from .verification import Noiseless, with_known_batch

__all__ = ['follow', 'parameter_names', 'trace']

_logger = logging.getLogger(__name__)

_BLOCKS = ('wrap_with_set_grad_enabled', 'wrap_with_autocast')
"""Operators that run a graph of their own: the code in a ``with torch.no_grad()`` or ``torch.autocast`` block."""

_PARTS = frozenset({'aten.narrow', 'aten.select', 'aten.slice'})
"""Operators that return a part of a tensor."""


def trace(model: nn.Module, example: ExampleInput, opaque: Sequence[str] = ()) -> ChannelGraph:
    """Analyze a model: which channels must change together, what each layer reads, and what it costs.

    The model is followed in evaluation mode, which also gives the costs, and in training mode if only training uses some
    of its parameters (auxiliary heads).

    Returns
    -------
    The channel graph, not yet verified by real forwards (see `verify_groups`).

    Raises
    ------
    nni_cafenet.errors.TraceError
        If the model does not run on the example, or cannot be exported.
    """
    with untouched(model):
        example = with_known_batch(example, model)
        return group_channels(settle(follow(model, example, opaque)), parameter_names(model))


def follow(
    model: nn.Module,
    example: ExampleInput,
    opaque: Sequence[str] = (),
    constant: Collection[tuple[str, str]] = (),
) -> Constraints:
    """Collect what the rules state about a model; as `trace`, not settled and solved yet.

    ``constant`` attributes of modules, given as (module, name), follow no width. Costs are those of one sample: if the
    example has several, the model is followed once more with one, since what is computed from weights alone does not grow
    with the batch.
    """
    if any(parameter.is_meta for parameter in model.parameters()):
        example = example.map(lambda tensor: tensor.to('meta'))
    constraints = Constraints(constant=frozenset(constant))
    names = _register_tensors(model, constraints)
    with using_mode(model, training=False), layers_with_rules(model, example) as owned:
        seen = _follow(model, example, opaque, constraints, names) | owned
    if example.batch_size > 1:
        constraints.costs = []
        one = example.with_batch(1)
        with using_mode(model, training=False), layers_with_rules(model, one):
            _follow(model, one, opaque, constraints, names)
    costs, constraints.costs = constraints.costs, []
    left = [name for name, _ in model.named_parameters() if name not in seen]
    if left:
        two = example.with_batch_of_two()
        try:
            with using_mode(model, training=True), _keeping_buffers(model), layers_with_rules(model, two) as owned:
                seen |= _follow(model, two, opaque, constraints, names) | owned
        except TraceError as error:
            raise TraceError(
                f'{layer_of(left[0])} of {type(model).__name__} is not used in evaluation mode, and what it does '
                f'in training mode cannot be seen: {error} Or remove it from the model, if nothing uses it.'
            ) from error
    for name, symbol in constraints.parameters.items():
        if name not in seen:
            for dim in symbol.dims:
                constraints.fix(dim, 'is not used by the model')
    known = {name for name, _ in constraints.produced}
    for name, symbol in constraints.parameters.items():
        if '.parametrizations.' in f'.{name}' and name not in known and len(symbol.shape) > 1:
            constraints.produced.append((name, 0))  # a weight that comes out of operators without a rule
    constraints.costs = costs
    follow_sizes(constraints, model, names, lambda: settle(constraints).component_of())
    return constraints


def parameter_names(model: nn.Module) -> list[str]:
    """Name the parameters, each tensor once."""
    return [name for name, _ in model.named_parameters()]


def _register_tensors(model: nn.Module, constraints: Constraints) -> dict[str, str]:
    """Register parameters and buffers; map each name to the one it is registered under (tied tensors share one)."""
    first: dict[int, str] = {}
    names: dict[str, str] = {}
    both = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    convolutions = {name for name, module in model.named_modules() if isinstance(module, ConvNd)}
    for name, tensor in both:
        names[name] = first.setdefault(id(tensor), name)
        kernel = 2 if layer_of(names[name]) in convolutions else None
        constraints.parameter(names[name], tensor.shape, kernel)
    return names


@contextlib.contextmanager
def _keeping_buffers(model: nn.Module) -> Iterator[None]:
    """Undo what real forwards in training mode write into buffers, which are run if an export fails."""
    before = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, values in before:
                put(buffer, (None,) * buffer.dim(), values)


def _follow(
    model: nn.Module, example: ExampleInput, opaque: Sequence[str], constraints: Constraints, names: dict[str, str]
) -> set[str]:
    """Run the rules over all operators of a model; return the names of the tensors that it uses."""
    operators = operators_of(model, example, opaque)
    if not model.training:
        constraints.differs_in_training |= _trains_otherwise(model, example, operators.module)
    constraints.recorded |= operators.recorded
    modules = dict(model.named_modules(remove_duplicate=False))
    seen: set[str] = set()
    values: list[Symbol | None] = []
    for node in operators.module.graph.find_nodes(op='placeholder'):
        target = operators.tensors.get(node.name)
        if target in names:
            values.append(constraints.parameters[names[target]])
            seen.update({names[target], target} if node.users else ())
        else:
            constant = _constant(node)
            values.append(None if constant is None else replace(constant, of_input=True))
    indices = ConstantIndices(operators.module, operators.tensors, operators.constants, model)
    returned = _run(operators.module, values, constraints, modules, operators.after_values, indices) or ()
    outputs = [(path, symbol) for path, value in zip(operators.outputs, returned) for symbol in _symbols(value)]
    if not outputs:
        raise TraceError(
            f'The model {type(model).__name__} returns no tensor for example_input ({example.describe()}) in '
            f'{"training" if model.training else "evaluation"} mode: nothing shows what its layers are for. '
            'Let its forward return what it computes.'
        )
    for path, symbol in outputs:
        for dim in symbol.dims:
            constraints.fix(dim, f'is an output of the model ({path})' if path else 'is an output of the model')
    return seen


def _trains_otherwise(model: nn.Module, example: ExampleInput, listed: fx.GraphModule | ListedOperators) -> bool:
    """Whether a model may call other operators in training mode, apart from dropout and statistics."""
    if not may_read_mode(model):
        return False
    if not isinstance(listed, ListedOperators):
        return True
    mode = Noiseless(statistics=False)
    with untouched(model), using_mode(model, training=True):
        found = run_on_meta(model, example, mode)
    return found is None or mode.drew or not same_operators(listed.graph, found[0].graph)


def _run(
    graph_module: fx.GraphModule | ListedOperators,
    inputs: Sequence[Any],
    constraints: Constraints,
    modules: dict[str, nn.Module],
    after_values: Collection[fx.Node] = (),
    indices: ConstantIndices | None = None,
) -> Any:
    """Run the rules over a graph called on symbols; return the symbols of its output."""
    values: dict[fx.Node, Any] = {}
    given = iter(inputs)
    for node in graph_module.graph.nodes:
        for source in node.all_input_nodes if node in after_values else ():
            for symbol in _symbols(values[source]):
                for dim in symbol.dims:
                    constraints.fix(dim, "is used after the model's Python code has read values")
        if node.op == 'placeholder':
            values[node] = next(given)
        elif node.op == 'output':
            return fx.node.map_arg(node.args[0], lambda n: values[n])
        elif node.op == 'get_attr' and isinstance(getattr(graph_module, str(node.target), None), fx.GraphModule):
            values[node] = getattr(graph_module, str(node.target))
        elif str(node.target) in _BLOCKS:
            arguments: Any = fx.node.map_arg(node.args, lambda n: values[n])
            first = next(i for i, argument in enumerate(arguments) if isinstance(argument, fx.GraphModule))
            values[node] = _run(arguments[first], arguments[first + 1 :], constraints, modules)
        elif node.op == 'call_function':
            values[node] = _apply(node, values, constraints, modules, indices)
        else:
            values[node] = _constant(node)
    return None


def _apply(
    node: fx.Node,
    values: dict[fx.Node, Any],
    constraints: Constraints,
    modules: dict[str, nn.Module],
    indices: ConstantIndices | None,
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
    shapes = shapes_of(node)
    if not shapes:
        return None
    if operator in _PARTS and not node.users:  # `x[..., -1].shape`: nothing uses its values
        return Symbol.constant(shapes[0])
    several = isinstance(node.meta['val'], (list, tuple))

    def constant_index(symbol: Symbol, axis: int) -> ConstantIndex | None:
        source = next((source for source in node.all_input_nodes if values[source] is symbol), None)
        return None if indices is None or source is None else indices.of(source, axis)

    call = Call(constraints, operator, shapes, modules, constant_index)
    results = _run_rule(call, find_rule(operator, node.target), several, arguments, keywords)
    of_input = any(symbol.of_input for symbol in _symbols((arguments, keywords)))
    made = [Symbol(shape, tuple(dims), of_input=of_input) for shape, dims in zip(shapes, results)]
    return made if several else made[0]


def _run_rule(call: Call, rule: Rule | None, several: bool, arguments: Any, keywords: Any) -> Sequence[Sequence[Dim]]:
    """Return the dims of every output; without a rule that works, fix what the operator touches."""
    problem = 'which has no rule'
    if rule is not None:
        try:
            outputs = rule(call, *arguments, **keywords)
            results = list(outputs) if several else [outputs]
            if [len(dims) for dims in results] == [len(shape) for shape in call.shapes]:
                return results
            problem = 'whose rule does not give one dim for every dimension of its outputs'
        except Exception as error:  # noqa: BLE001 - rules may be the user's
            pass_on(error)
            problem = f'whose rule failed with {type(error).__name__}: {first_line(error)}'
        _logger.warning('The operator %s keeps the channels that reach it: it is one %s.', call.operator, problem)
    for symbol in _symbols((arguments, keywords)):
        call.fix(*symbol.dims, reason=f'reaches {call.operator}, {problem}')
    return [(None,) * len(shape) for shape in call.shapes]


def _constant(node: fx.Node) -> Symbol | None:
    shapes = shapes_of(node)
    return Symbol.constant(shapes[0]) if shapes else None


def _symbols(values: Any) -> list[Symbol]:
    leaves = torch.utils._pytree.tree_leaves(values, is_leaf=lambda leaf: isinstance(leaf, Symbol))
    return [leaf for leaf in leaves if isinstance(leaf, Symbol)]
