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
            result = parts[0]
            for part in parts[1:]:
                result = call.same(result, part)
            dims.append(result)
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


@register_rule('aten.index')
def index(call: Call, x: Symbol, indices: Sequence[Symbol | None], *_: Any) -> Any:
    """Index by tensors: the dimensions that are indexed cannot change, the others pass."""
    masked = _mask_rank(x, indices)
    if masked and len(x.shape) - masked + 1 == len(call.shape):
        return _masked(call, x, indices, masked)
    dims = _looked_up(call, x, indices)
    return dims if len(dims) == len(call.shape) else call.fixed(x)[0]


@register_rule('aten.index_put', 'aten.index_put_')
def index_put(call: Call, x: Symbol, indices: Sequence[Symbol | None], values: Symbol, *_: Any) -> Any:
    """Write values to positions that tensors of indices give: the other dimensions agree."""
    masked = _mask_rank(x, indices)
    if masked:
        part = _masked(call, x, indices, masked)
        looked_up = [axis < masked for axis in range(len(x.shape))]
    else:
        part = _looked_up(call, x, indices)
        looked_up = [axis < len(indices) and indices[axis] is not None for axis in range(len(x.shape))]
    if len(values.shape) > len(part):
        return call.fixed(x, values)[0]
    met = list(part)
    for axis, (size, dim) in enumerate(zip(reversed(values.shape), reversed(values.dims)), 1):
        if size > 1:
            met[-axis] = call.same(part[-axis], dim)
    kept = iter(dim for axis, dim in enumerate(met) if part[axis] is not None)
    return [None if dim is None or there else next(kept) for dim, there in zip(x.dims, looked_up)]


def _mask_rank(x: Symbol, indices: Sequence[Symbol | None]) -> int:
    """Return how many dimensions a mask takes, if the only index is one for several dimensions; 0 if not."""
    only = indices[0] if len(indices) == 1 else None
    return (
        len(only.shape) if only is not None and len(only.shape) > 1 and only.shape == x.shape[: len(only.shape)] else 0
    )


def _masked(call: Call, x: Symbol, masks: Sequence[Symbol | None], rank: int) -> list[Dim]:
    """Return the dims of ``x[mask]``, where the mask stands for the first dimensions: they cannot change."""
    mask_dims = [dim for mask in masks if mask is not None for dim in mask.dims]
    call.fix(*mask_dims, *x.dims[:rank], reason=f'is chosen by a mask in {call.operator}')
    return [None, *x.dims[rank:]]


def _looked_up(call: Call, x: Symbol, indices: Sequence[Symbol | None]) -> list[Dim]:
    """Return the dims of ``x[indices]``, where every tensor of indices stands for one dimension."""
    found = [axis for axis, tensor in enumerate(indices) if tensor is not None]
    tensors = [tensor for tensor in indices if tensor is not None]
    call.fix(*(dim for tensor in tensors for dim in tensor.dims), reason=f'holds positions for {call.operator}')
    call.fix(*(x.dims[axis] for axis in found), reason=f'is looked up by its position in {call.operator}')
    new = len(np.broadcast_shapes(*(tensor.shape for tensor in tensors)))
    kept = [dim for axis, dim in enumerate(x.dims) if axis not in found]
    start = found[0] if found == list(range(found[0], found[0] + len(found))) else 0
    return [*kept[:start], *(None,) * new, *kept[start:]]


@register_rule('aten.index_select')
def index_select(call: Call, x: Symbol, axis: int, positions: Symbol) -> Dims:
    """Take some positions of a dimension."""
    axis %= len(x.shape)
    call.fix(x.dims[axis], reason='is looked up by its position in aten.index_select')
    call.fix(*positions.dims)
    return (*x.dims[:axis], None, *x.dims[axis + 1 :])


@register_rule(*(f'aten.{name}' for name in 'zeros ones empty full new_zeros new_ones new_empty new_full'.split()))
def new(call: Call, *_: Any, **__: Any) -> Dims:
    """Make a tensor of one value, of sizes given by the model's code.

    They may be constants or sizes of other tensors: what the tensor meets decides, and real forwards verify it.
    """
    return [call.constraints.new(size) if size > 1 else None for size in call.shape]
