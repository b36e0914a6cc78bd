"""Normalization: per channel, per group of channels, and over all channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..constraints import Dim, Symbol
from .registry import Call, Dims, register_rule


@register_rule('aten.batch_norm', 'aten.instance_norm')
def batch_norm(
    call: Call,
    x: Symbol,
    weight: Symbol | None = None,
    bias: Symbol | None = None,
    mean: Symbol | None = None,
    variance: Symbol | None = None,
    by_input: bool = False,
    *_: Any,
) -> Dims:
    """Normalize every channel (dimension 1) by itself: by running statistics, or by those of the input (``by_input``)."""
    channels = x.dims[1]
    for vector in (weight, bias, mean, variance):
        if vector is not None:
            channels = call.same(channels, vector.dims[0])
    if by_input:
        over = [2 + axis for axis in range(len(x.shape) - 2)]
        call.averages(x, over if call.operator == 'aten.instance_norm' else [0, *over])
    return (x.dims[0], channels, *x.dims[2:])


@register_rule('aten.layer_norm', 'aten.rms_norm')
def layer_norm(
    call: Call,
    x: Symbol,
    normalized_shape: Sequence[int],
    weight: Symbol | None = None,
    bias: Symbol | Any = None,
    *_: Any,
    **__: Any,
) -> Dims:
    """Normalize over the last dimensions together. Weight and bias: those dimensions.

    ``normalized_shape`` follows the weight (see `slicing.attributes`). Without a weight the model's code may take it from a
    tensor, or from an attribute, which real forwards tell.
    """
    first = len(x.shape) - len(normalized_shape)
    if weight is None:
        reason = f'is normalized by {call.operator} without a weight whose size could follow'
        for whole in x.dims[first:]:
            call.constraints.mix(whole)
            if whole is not None:
                call.constraints.split(whole, [len(whole)])
                call.constraints.unverified.append((whole, reason))
        return x.dims
    dims: list[Dim] = list(x.dims[:first])
    for index in range(len(normalized_shape)):
        dim = call.same(x.dims[first + index], weight.dims[index])
        if isinstance(bias, Symbol):
            dim = call.same(dim, bias.dims[index])
        call.constraints.mix(dim)
        dims.append(dim)
    return dims


@register_rule('aten.group_norm')
def group_norm(
    call: Call,
    x: Symbol,
    groups: int,
    weight: Symbol | None = None,
    bias: Symbol | None = None,
    *_: Any,
) -> Dims:
    """Normalize groups of neighboring channels (dimension 1), which shrink in the finer of two ways.

    Either whole groups are removed, or each group keeps the same channels. ``num_groups`` follows the weight.
    """
    channels = x.dims[1]
    for vector in (weight, bias):
        if vector is not None:
            channels = call.same(channels, vector.dims[0])
    if channels is None:
        return x.dims
    a_group = x.shape[1] // groups
    rows = channels.reshape(groups, a_group)
    if groups >= a_group and weight is not None and call.attribute('num_groups', weight, 0, a_group):
        call.same(*rows.T)
    else:
        call.same(*rows)
        call.constraints.mix(channels)
    return (x.dims[0], channels, *x.dims[2:])
