"""Layers with weights: convolutions, linear layers, embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..constraints import Dim, Symbol, product
from .registry import Call, Dims, register_rule
from .windows import slide

__all__ = ['grouped_channels']


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
    """Pass channels through a convolution. Weight: (out, in / groups, *kernel).

    It may also run along channels, as one of its spatial dimensions (see `windows`). The weight may be an activation
    (dynamic kernels, correlation with a template), whose sizes the number of groups then follows.
    """
    axis = len(x.shape) - len(weight.shape) + 1  # 1, or 0 for an input without batch
    inputs, outputs, reads = x.dims[axis], weight.dims[0], weight.dims[1]
    _sizes_of_computed(call, weight, 'out_channels', *(['in_channels'] if groups == 1 else []))
    call.fix(*weight.dims[2:], *x.dims[:axis], reason='')
    call.produces(weight, 0)
    if bias is not None:
        call.same(outputs, bias.dims[0])
    if groups == 1:
        call.same(inputs, reads)
        call.reads(weight, 1)
    else:
        outputs = grouped_channels(call, inputs, weight, groups, whole_groups=_whole_groups(call, weight, groups))
    kernel = weight.shape[2:]
    along = [
        slide(call, dim, size, kernel[i], weight, 2 + i, _each(stride, i), _each(padding, i), _each(dilation, i))
        for i, (dim, size) in enumerate(zip(x.dims[axis + 1 :], call.shape[axis + 1 :]))
    ]
    positions = list(zip(call.shape[axis + 1 :], along))
    call.cost(
        product(call.shape[:axis]) * product(kernel), [(weight.shape[0], outputs), (weight.shape[1], reads), *positions]
    )
    return (*x.dims[:axis], outputs, *along)


def _each(numbers: Any, index: int) -> Any:
    """Return the number of one spatial dimension, given one for all or one for each."""
    if not isinstance(numbers, (list, tuple)):
        return numbers
    return numbers[index] if len(numbers) > 1 else numbers[0]


def _sizes_of_computed(call: Call, weight: Symbol, *names: str) -> None:
    """Make the attributes that hold a layer's sizes follow a weight computed from other parameters."""
    if weight.name is None:
        for axis, name in enumerate(names):
            call.attribute(name, weight, axis, 1)


def _whole_groups(call: Call, weight: Symbol, groups: int) -> bool:
    """Whether whole groups are removed: where that is the finer way, and the number of groups can follow.

    It follows as an attribute of the layer. Otherwise the model's code computes it, as forwards verify: from sizes, if a
    group has one input.
    """
    if weight.of_input:
        return weight.dims[1] is None
    if groups >= weight.shape[1] and call.attribute('groups', weight, 0, weight.shape[0] // groups):
        return True
    return weight.shape[1] == 1


def grouped_channels(call: Call, inputs: Dim, weight: Symbol, groups: int, *, whole_groups: bool) -> Dim:
    """State how a grouped convolution shrinks, in one of two ways; return its output channels.

    Either whole groups are removed, with their inputs and outputs (depthwise: one channel per group), or every group keeps
    the same positions of its inputs and outputs. A kernel that the code repeats for every group has as many as there are.
    """
    outputs = weight.dims[0]
    if outputs is None and whole_groups and weight.name is None:
        outputs = call.constraints.new(weight.shape[0])
    per_group_in, per_group_out = weight.shape[1], weight.shape[0] // groups
    out_rows = call.constraints.ids_or_fixed(outputs, weight.shape[0]).reshape(groups, per_group_out)
    if whole_groups:
        call.fix(weight.dims[1], reason='')
        if inputs is None:
            call.fix(outputs, reason='is convolved group by group from channels that are fixed')
            return weight.dims[0]
        rows = inputs.reshape(groups, per_group_in)
        call.same(*rows.T, *out_rows.T)
        return outputs
    call.same(*out_rows)
    if inputs is None:
        call.fix(weight.dims[1])
        return outputs
    rows = inputs.reshape(groups, per_group_in)
    call.reads(weight, 1)
    call.same(weight.dims[1], *rows)
    return outputs


@register_rule('aten.linear')
def linear(call: Call, x: Symbol, weight: Symbol, bias: Symbol | None = None) -> Dims:
    """Pass features through a linear layer. Weight: (out, in)."""
    call.same(x.dims[-1], weight.dims[1])
    _sizes_of_computed(call, weight, 'out_features', 'in_features')
    call.produces(weight, 0)
    call.reads(weight, 1)
    if bias is not None:
        call.same(weight.dims[0], bias.dims[0])
    rows = list(zip(x.shape[:-1], x.dims[:-1]))
    call.cost(1, [*rows, (weight.shape[0], weight.dims[0]), (weight.shape[1], weight.dims[1])])
    return (*x.dims[:-1], weight.dims[0])


@register_rule('aten.conv_transpose1d', 'aten.conv_transpose2d', 'aten.conv_transpose3d')
def transposed_convolution(
    call: Call,
    x: Symbol,
    weight: Symbol,
    bias: Symbol | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    *_: Any,
) -> Dims:
    """Pass channels through a transposed convolution. Weight: (in, out / groups, *kernel).

    Every input position meets the whole kernel: MACs grow with the positions of the input.
    """
    axis = len(x.shape) - len(weight.shape) + 1
    call.fix(*weight.dims[2:], *x.dims[axis + 1 :], *x.dims[:axis], reason='')
    inputs = call.same(x.dims[axis], weight.dims[0])
    outputs = weight.dims[1] if groups == 1 else _transposed_groups(call, inputs, weight, groups)
    if groups == 1 or inputs is not None:
        call.reads(weight, 0)
    call.produces(weight, 1)
    if bias is not None:
        outputs = call.same(outputs, bias.dims[0])
    positions = product(x.shape[:axis]) * product(x.shape[axis + 1 :]) * product(weight.shape[2:])
    call.cost(positions, [(weight.shape[0], weight.dims[0]), (weight.shape[1], weight.dims[1])])
    return (*x.dims[:axis], outputs, *(None,) * (len(x.shape) - axis - 1))


def _transposed_groups(call: Call, inputs: Dim, weight: Symbol, groups: int) -> Dim:
    """State how a grouped transposed convolution shrinks (see `grouped_channels`); return its output channels."""
    per_group_in, per_group_out = weight.shape[0] // groups, weight.shape[1]
    if inputs is None:
        call.fix(weight.dims[1], reason='is convolved group by group from channels that are fixed')
        return None
    rows = inputs.reshape(groups, per_group_in)
    if groups >= per_group_in and (call.attribute('groups', weight, 0, per_group_in) or per_group_in == 1):
        call.fix(weight.dims[1], reason='')
        call.same(*rows.T)
        return np.repeat(rows[:, 0], per_group_out)
    call.same(*rows)
    return np.tile(call.constraints.ids_or_fixed(weight.dims[1], per_group_out), groups)


@register_rule('aten.embedding')
def embedding(call: Call, weight: Symbol, indices: Symbol, *_: Any, **__: Any) -> Dims:
    """Look rows up. Weight: (vocabulary, features)."""
    call.fix(weight.dims[0], reason='is looked up by its position in aten.embedding')
    call.fix(*indices.dims)
    call.produces(weight, 1)
    return (*(None,) * len(indices.shape), weight.dims[1])


@register_rule('aten.embedding_bag', 'aten._embedding_bag')
def embedding_bag(call: Call, weight: Symbol, indices: Symbol, *_: Any, **__: Any) -> list[Dims]:
    """Look rows up and join those of a bag: (bags, features), and three tensors about the bags."""
    call.fix(weight.dims[0], reason=f'is looked up by its position in {call.operator}')
    call.fix(*indices.dims)
    call.produces(weight, 1)
    return [(None, weight.dims[1]), *((None,) * len(shape) for shape in call.shapes[1:])]
