"""How each family of operators passes channels on: a table of small rules, open to users.

A rule is a function ``rule(call, *arguments) -> dims``. Its arguments are those of the ATen operator, tensors replaced
by `Symbol`. It states what must agree through ``call`` and returns one `Dim` for every dimension of the output (a list
of such tuples where the operator returns several tensors). Operators without a rule fix what they touch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from .constraints import Attribute, Constraints, Dim, Symbol, product

__all__ = ['Call', 'find_rule', 'register_rule']

Dims = Sequence[Dim]
Rule = Callable[..., Any]

_RULES: dict[str, Rule] = {}


def register_rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register the rule of some operators, or replace it.

    Parameters
    ----------
    operators
        Operators without their overload, such as ``'aten.conv2d'`` or ``'my_library.scale'``.

    Examples
    --------
    >>> @register_rule('my_library.scale')        # an operator that keeps the shape of its first argument
    ... def scale(call, x, factor):
    ...     return x.dims
    """

    def register(rule: Rule) -> Rule:
        for operator in operators:
            _RULES[operator.replace('::', '.')] = rule
        return rule

    return register


def find_rule(operator: str) -> Rule | None:
    """Return the rule of an operator, or None."""
    return _RULES.get(operator)


@dataclass(frozen=True)
class Call:
    """One operator of a model at work; what its rule states goes through here.

    Parameters
    ----------
    constraints
        Where the statements are collected.
    operator
        Name of the operator, such as ``'aten.conv2d'``.
    shapes
        Shapes of the outputs, in the full model.
    modules
        ``{name: module}`` of the model.
    """

    constraints: Constraints
    operator: str
    shapes: tuple[tuple[int, ...], ...]
    modules: dict[str, nn.Module]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the only (or first) output."""
        return self.shapes[0]

    def same(self, left: Dim, right: Dim) -> Dim:
        """State that two dimensions agree position by position."""
        return self.constraints.same(left, right, f'meets a dimension of fixed size in {self.operator}')

    def fix(self, *dims: Dim, reason: str | None = None) -> None:
        """State that dimensions cannot change."""
        for dim in dims:
            self.constraints.fix(dim, f'cannot change in {self.operator}' if reason is None else reason)

    def fixed(self, *symbols: Symbol) -> list[tuple[Dim, ...]]:
        """Fix all that the symbols carry; return outputs that cannot change."""
        for symbol in symbols:
            self.fix(*symbol.dims)
        return [(None,) * len(shape) for shape in self.shapes]

    def produces(self, weight: Symbol, axis: int) -> None:
        """Record that the positions of a parameter's axis are the output channels of a layer."""
        if weight.name is not None and (weight.name, axis) not in self.constraints.produced:
            self.constraints.produced.append((weight.name, axis))

    def reads(self, weight: Symbol, axis: int) -> None:
        """Record that the positions of a parameter's axis are the input channels of a layer."""
        if weight.name is not None and (weight.name, axis) not in self.constraints.read:
            self.constraints.read.append((weight.name, axis))

    def cost(self, constant: int, dims: Iterable[tuple[int, Dim]]) -> None:
        """Add multiply-accumulates: a constant times the sizes of dims, given as (full size, dim)."""
        self.constraints.add_cost(self.operator, constant, dims)

    def attribute(self, name: str, weight: Symbol, axis: int, divisor: int) -> bool:
        """Make an attribute of the module that owns ``weight`` follow one of its dimensions; False if it has none."""
        if weight.name is None:
            return False
        path = weight.name.rpartition('.')[0]
        if not hasattr(self.modules.get(path), name):
            return False
        attribute = Attribute(path, name, weight.name, axis, divisor)
        if attribute not in self.constraints.attributes:
            self.constraints.attributes.append(attribute)
        return True


# --- layers with weights --------------------------------------------------------------------------


@register_rule('aten.conv1d', 'aten.conv2d', 'aten.conv3d')
def convolution(
    call: Call,
    x: Symbol,
    weight: Symbol,
    bias: Symbol | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Dims:
    """Pass channels through a convolution. Weight: (out, in / groups, *kernel)."""
    axis = len(x.shape) - len(weight.shape) + 1  # 1, or 0 for an input without batch
    inputs, outputs, reads = x.dims[axis], weight.dims[0], weight.dims[1]
    call.fix(*weight.dims[2:], *x.dims[axis + 1 :], *x.dims[:axis], reason='')
    call.produces(weight, 0)
    if bias is not None:
        call.same(outputs, bias.dims[0])
    if groups == 1:
        call.same(inputs, reads)
        call.reads(weight, 1)
    else:
        _grouped(call, inputs, weight, groups, x.shape[axis])
    positions = product(call.shape[:axis]) * product(call.shape[axis + 1 :]) * product(weight.shape[2:])
    call.cost(positions, [(weight.shape[0], outputs), (weight.shape[1], reads)])
    return (*x.dims[:axis], outputs, *(None,) * (len(x.shape) - axis - 1))


def _grouped(call: Call, inputs: Dim, weight: Symbol, groups: int, in_channels: int) -> None:
    """State what a grouped convolution asks for, by the finer of the two ways in which it can shrink.

    Either whole groups go, with their inputs and outputs (a depthwise convolution is the case of one channel a
    group), or every group keeps the same positions of its inputs and of its outputs.
    """
    outputs = weight.dims[0]
    per_group_in, per_group_out = in_channels // groups, weight.shape[0] // groups
    whole_groups = groups >= per_group_in and call.attribute('groups', weight, 0, per_group_out)
    out_rows = call.constraints.solid(outputs, weight.shape[0]).reshape(groups, per_group_out)
    if whole_groups:
        call.fix(weight.dims[1], reason='')
        if inputs is None:
            call.fix(outputs, reason='is convolved group by group from channels that are fixed')
            return
        rows = inputs.reshape(groups, per_group_in)
        for column in range(1, per_group_in):
            call.same(rows[:, 0], rows[:, column])
        for column in range(per_group_out):
            call.same(rows[:, 0], out_rows[:, column])
        return
    for row in range(1, groups):
        call.same(out_rows[0], out_rows[row])
    if inputs is None:
        call.fix(weight.dims[1])
        return
    rows = inputs.reshape(groups, per_group_in)
    call.reads(weight, 1)
    for row in range(groups):
        call.same(weight.dims[1], rows[row])


@register_rule('aten.linear')
def linear(call: Call, x: Symbol, weight: Symbol, bias: Symbol | None = None) -> Dims:
    """Pass features through a linear layer. Weight: (out, in)."""
    call.same(x.dims[-1], weight.dims[1])
    call.produces(weight, 0)
    call.reads(weight, 1)
    if bias is not None:
        call.same(weight.dims[0], bias.dims[0])
    rows = list(zip(x.shape[:-1], x.dims[:-1]))
    call.cost(1, [*rows, (weight.shape[0], weight.dims[0]), (weight.shape[1], weight.dims[1])])
    return (*x.dims[:-1], weight.dims[0])


@register_rule('aten.batch_norm', 'aten.instance_norm')
def batch_norm(
    call: Call,
    x: Symbol,
    weight: Symbol | None,
    bias: Symbol | None,
    mean: Symbol | None,
    variance: Symbol | None,
    *_: Any,
) -> Dims:
    """Normalise every channel (dimension 1) by itself."""
    channels = x.dims[1]
    for vector in (weight, bias, mean, variance):
        if vector is not None:
            channels = call.same(channels, vector.dims[0])
    return (x.dims[0], channels, *x.dims[2:])


# --- operators that work on every element, or on every channel by itself --------------------------


@register_rule(
    *(
        f'aten.{name}{suffix}'
        for name in (
            'relu relu6 hardtanh hardswish hardsigmoid sigmoid silu gelu elu celu selu leaky_relu mish tanh '
            'softplus dropout feature_dropout alpha_dropout abs neg exp log sqrt rsqrt square reciprocal '
            'logical_not round floor erf sin cos bernoulli fill zero clone '
            'contiguous detach alias to _to_copy type_as zeros_like ones_like empty_like full_like rand_like'
        ).split()
        for suffix in ('', '_')
    )
)
def elementwise(call: Call, x: Symbol, *_: Any, **__: Any) -> Dims:
    """Keep every dimension: the output has the shape of the first argument."""
    return x.dims


@register_rule(
    *(
        f'aten.{name}{suffix}'
        for name in (
            'add sub rsub mul div pow maximum minimum where lerp addcmul addcdiv eq ne lt le gt ge '
            'logical_and logical_or atan2 remainder fmod clamp clamp_min clamp_max'
        ).split()
        for suffix in ('', '_')
    )
)
def broadcast(call: Call, *operands: Any, **__: Any) -> Dims:
    """Line dimensions up from the right; those that meet must agree."""
    symbols = [operand for operand in operands if isinstance(operand, Symbol)]
    rank = len(call.shape)
    dims: list[Dim] = []
    for axis, size in enumerate(call.shape):
        meeting = [
            symbol.dims[axis - rank + len(symbol.shape)]
            for symbol in symbols
            if axis - rank + len(symbol.shape) >= 0 and symbol.shape[axis - rank + len(symbol.shape)] == size
        ]
        result = meeting[0] if meeting else None
        for other in meeting[1:]:
            result = call.same(result, other)
        dims.append(result)
    return dims


@register_rule('aten.prelu')
def prelu(call: Call, x: Symbol, weight: Symbol) -> Dims:
    """One slope for all channels, or one for each (dimension 1)."""
    if weight.shape[0] == 1:
        return x.dims
    return (x.dims[0], call.same(x.dims[1], weight.dims[0]), *x.dims[2:])


def _spatial(rank: int) -> Rule:
    def rule(call: Call, x: Symbol, *_: Any, **__: Any) -> Any:
        call.fix(*x.dims[-rank:])
        outputs = [(*x.dims[:-rank], *(None,) * rank) for _ in call.shapes]
        return outputs if len(outputs) > 1 else outputs[0]

    return rule


for _rank, _names in {
    1: 'max_pool1d avg_pool1d adaptive_avg_pool1d upsample_nearest1d upsample_linear1d reflection_pad1d',
    2: 'max_pool2d max_pool2d_with_indices avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d upsample_nearest2d '
    'upsample_bilinear2d upsample_bicubic2d reflection_pad2d replication_pad2d',
    3: 'max_pool3d avg_pool3d adaptive_avg_pool3d upsample_nearest3d upsample_trilinear3d',
}.items():
    register_rule(*(f'aten.{name}' for name in _names.split()))(_spatial(_rank))


@register_rule('aten.pad', 'aten.constant_pad_nd')
def padding(call: Call, x: Symbol, amounts: Sequence[int], *_: Any, **__: Any) -> Dims:
    """Pad the last dimensions; ``amounts`` holds two numbers for each, the last dimension first."""
    dims = list(x.dims)
    for index in range(len(amounts) // 2):
        if amounts[2 * index] != 0 or amounts[2 * index + 1] != 0:
            call.fix(dims[-1 - index])
            dims[-1 - index] = None
    return dims


@register_rule(*(f'aten.{name}' for name in ('mean', 'sum', 'amax', 'amin', 'var', 'std', 'softmax', 'log_softmax')))
def reduction(call: Call, x: Symbol, axes: Any = None, *_: Any, **__: Any) -> Any:
    """Reduce over dimensions, or normalise along one."""
    if not isinstance(axes, (int, list, tuple)) or isinstance(axes, bool):
        return call.fixed(x)[0]
    reduced = {axis % len(x.shape) for axis in ([axes] if isinstance(axes, int) else axes)}
    for axis in reduced:
        call.constraints.mix(x.dims[axis])
    if len(call.shape) < len(x.shape):
        return tuple(dim for axis, dim in enumerate(x.dims) if axis not in reduced)
    keeps = call.shape == x.shape
    return tuple(dim if keeps or axis not in reduced else None for axis, dim in enumerate(x.dims))


@register_rule('aten.max', 'aten.min')
def extremum(call: Call, x: Symbol, other: Any = None, *_: Any, **__: Any) -> Any:
    """Compare two tensors, or reduce over one dimension (values and indices), or over all."""
    if isinstance(other, Symbol):
        return broadcast(call, x, other)
    dims = reduction(call, x, other)
    return [dims for _ in call.shapes] if len(call.shapes) > 1 else dims


# --- operators that move channels -----------------------------------------------------------------


@register_rule('aten.cat', 'aten.concat')
def concatenation(call: Call, tensors: Sequence[Symbol], axis: int = 0) -> Dims:
    """Join along one dimension: its parts follow each other; the other dimensions agree."""
    tensors = [tensor for tensor in tensors if len(tensor.shape) == len(call.shape)]
    axis %= len(call.shape)
    dims: list[Dim] = []
    for index in range(len(call.shape)):
        parts = [tensor.dims[index] for tensor in tensors]
        if index != axis:
            result = parts[0]
            for part in parts[1:]:
                result = call.same(result, part)
            dims.append(result)
        elif all(part is None for part in parts):
            dims.append(None)
        else:
            solid = [call.constraints.solid(part, tensor.shape[axis]) for part, tensor in zip(parts, tensors)]
            dims.append(np.concatenate(solid))
    return dims


@register_rule('aten.flatten', 'aten.view', 'aten.reshape', 'aten.unflatten', 'aten._unsafe_view', 'aten.squeeze')
@register_rule('aten.unsqueeze', 'aten.squeeze_', 'aten.unsqueeze_')
def reshape(call: Call, x: Symbol, *_: Any, **__: Any) -> Dims:
    """Split and merge neighbouring dimensions, block by block."""
    dims: list[Dim] = []
    for sources, targets in _blocks(x.shape, call.shape):
        dims.extend(_reshape_block(call, x, sources, call.shape[targets.start : targets.stop]))
    return dims


def _blocks(source: tuple[int, ...], target: tuple[int, ...]) -> list[tuple[range, range]]:
    """Cut two shapes of the same number of elements into the smallest pieces that correspond."""
    blocks = []
    i = j = 0
    while i < len(source) or j < len(target):
        start_i, start_j = i, j
        left = source[i] if i < len(source) else 1
        right = target[j] if j < len(target) else 1
        i, j = min(i + 1, len(source)), min(j + 1, len(target))
        while left != right:
            if left < right:
                left *= source[i]
                i += 1
            else:
                right *= target[j]
                j += 1
        blocks.append((range(start_i, i), range(start_j, j)))
    return blocks


def _reshape_block(call: Call, x: Symbol, sources: range, shape: tuple[int, ...]) -> list[Dim]:
    tracked = [axis for axis in sources if x.dims[axis] is not None]
    if not tracked:
        return [None] * len(shape)
    if len(tracked) > 1:
        call.fix(
            *(x.dims[axis] for axis in tracked),
            reason=f'{call.operator} merges two dimensions that could change',
        )
        return [None] * len(shape)
    block = [x.shape[axis] for axis in sources]
    place = [1] * len(block)
    place[tracked[0] - sources.start] = -1
    dim = x.dims[tracked[0]]
    elements = np.broadcast_to(np.reshape(dim, place), block).reshape(shape)  # type: ignore[arg-type]
    varying = [axis for axis in range(len(shape)) if np.any(np.take(elements, [0], axis) != elements)]
    if not varying:
        return [None] * len(shape)
    axis = varying[-1]  # what splits a channel dimension is a number of groups, then the channels of a group
    columns = np.moveaxis(elements, axis, 0).reshape(shape[axis], -1)
    unique = np.unique(columns, axis=1)
    for column in range(1, unique.shape[1]):
        call.same(unique[:, 0], unique[:, column])
    return [unique[:, 0] if index == axis else None for index in range(len(shape))]


@register_rule('aten.permute')
def permute(call: Call, x: Symbol, axes: Sequence[int]) -> Dims:
    """Reorder dimensions."""
    return [x.dims[axis] for axis in axes]


@register_rule('aten.transpose', 'aten.swapaxes')
def transpose(call: Call, x: Symbol, first: int, second: int) -> Dims:
    """Swap two dimensions."""
    dims = list(x.dims)
    dims[first], dims[second] = dims[second], dims[first]
    return dims


@register_rule('aten.chunk')
def chunk(call: Call, x: Symbol, chunks: int, axis: int = 0) -> Any:
    """Cut a dimension into equal parts, which stay equal: they keep the same positions."""
    axis %= len(x.shape)
    dim = x.dims[axis]
    sizes = [shape[axis] for shape in call.shapes]
    if dim is not None and len(set(sizes)) > 1:
        call.fix(dim, reason='is cut into unequal parts by aten.chunk')
        dim = None
    part = None
    if dim is not None:
        rows = dim.reshape(len(sizes), sizes[0])
        part = rows[0]
        for row in rows[1:]:
            call.same(part, row)
    return [(*x.dims[:axis], part, *x.dims[axis + 1 :]) for _ in sizes]


@register_rule('aten.slice')
def cut(call: Call, x: Symbol, axis: int = 0, *_: Any) -> Dims:
    """Keep a range of one dimension; where that is not all of it, the bounds are the model's own numbers."""
    axis %= len(x.shape)
    if call.shape[axis] == x.shape[axis]:
        return x.dims
    call.fix(x.dims[axis], reason='is cut at fixed positions by aten.slice')
    return (*x.dims[:axis], None, *x.dims[axis + 1 :])


@register_rule('aten.select')
def select(call: Call, x: Symbol, axis: int, index: Any) -> Dims:
    """Take one position of a dimension."""
    axis %= len(x.shape)
    call.fix(x.dims[axis], reason='is indexed at a fixed position by aten.select')
    return (*x.dims[:axis], *x.dims[axis + 1 :])


@register_rule('aten.expand', 'aten.expand_as')
def expand(call: Call, x: Symbol, *_: Any, **__: Any) -> Dims:
    """Repeat dimensions of size 1; the others stay as they are."""
    new = len(call.shape) - len(x.shape)
    for axis, dim in enumerate(x.dims):
        if x.shape[axis] != call.shape[axis + new]:
            call.fix(dim)
    return [None if axis < new else x.dims[axis - new] for axis in range(len(call.shape))]


# --- products of activations ----------------------------------------------------------------------


@register_rule('aten.matmul', 'aten.bmm', 'aten.mm')
def matrix_product(call: Call, left: Symbol, right: Symbol) -> Any:
    """Fix what is multiplied (widths inside attention are the work of a later rule), and count it."""
    inner = left.shape[-1]
    call.cost(product(call.shape) * inner, [])
    return call.fixed(left, right)[0]


@register_rule('aten.addmm', 'aten.baddbmm')
def matrix_product_and_sum(call: Call, bias: Symbol, left: Symbol, right: Symbol, **__: Any) -> Any:
    """Fix and count, like `matrix_product`."""
    call.cost(product(call.shape) * left.shape[-1], [])
    return call.fixed(bias, left, right)[0]


@register_rule('aten.scaled_dot_product_attention')
def attention(call: Call, query: Symbol, key: Symbol, value: Symbol, *rest: Any, **__: Any) -> Any:
    """Fix and count: the product of queries and keys, and that of its result with the values."""
    rows = product(query.shape[:-1])
    call.cost(rows * key.shape[-2] * (query.shape[-1] + value.shape[-1]), [])
    return call.fixed(query, key, value, *(s for s in rest if isinstance(s, Symbol)))[0]
