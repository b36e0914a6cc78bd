"""Operators that cut tensors, take parts of them, and join them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..constraints import Dim, Symbol
from .registry import Call, Dims, register_rule


@register_rule('aten.cat', 'aten.concat')
def concatenation(call: Call, tensors: Sequence[Symbol], axis: int = 0) -> Dims:
    """Join along one dimension: its parts follow each other; the other dimensions agree."""
    tensors = [tensor for tensor in tensors if len(tensor.shape) == len(call.shape)]
    axis %= len(call.shape)
    dims: list[Dim] = []
    for index in range(len(call.shape)):
        parts = [tensor.dims[index] for tensor in tensors]
        if index != axis:
            dims.append(call.same(*parts))
        elif all(part is None for part in parts):
            dims.append(None)
        else:
            kept = [call.constraints.ids_or_fixed(part, tensor.shape[axis]) for part, tensor in zip(parts, tensors)]
            dims.append(np.concatenate(kept))
    return dims


@register_rule('aten.stack')
def stack(call: Call, tensors: Sequence[Symbol], axis: int = 0) -> Dims:
    """Join along a new dimension: the others agree."""
    axis %= len(call.shape)
    dims = list(tensors[0].dims)
    for tensor in tensors[1:]:
        dims = [call.same(left, right) for left, right in zip(dims, tensor.dims)]
    return (*dims[:axis], None, *dims[axis:])


@register_rule('aten.unbind')
def unbind(call: Call, x: Symbol, axis: int = 0) -> Any:
    """Take a dimension apart, position by position."""
    axis %= len(x.shape)
    call.fix(x.dims[axis], reason='is taken apart position by position by aten.unbind')
    return [(*x.dims[:axis], *x.dims[axis + 1 :]) for _ in call.shapes]


@register_rule('aten.glu')
def gate(call: Call, x: Symbol, axis: int = -1) -> Dims:
    """Multiply the first half of a dimension by the sigmoid of the second: both keep the same positions."""
    axis %= len(x.shape)
    dim = x.dims[axis]
    if dim is None:
        return x.dims
    first, second = dim.reshape(2, -1)
    return (*x.dims[:axis], call.same(first, second), *x.dims[axis + 1 :])


@register_rule(*(f'aten.{name}' for name in 'zeros ones empty full new_zeros new_ones new_empty new_full'.split()))
def new(call: Call, *_: Any, **__: Any) -> Dims:
    """Make a tensor of one value, of sizes given by the model's code.

    They may be constants or sizes of other tensors: what the tensor meets decides, and real forwards verify it.
    """
    return [call.constraints.new(size) if size > 1 else None for size in call.shape]
