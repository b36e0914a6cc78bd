"""Operators that take positions of a dimension from a tensor: an order of channels, a choice, a mask.

Positions that a module keeps follow the widths (see `PositionTable`). If the model's code computes them, they may follow by
themselves, or be constants, which real forwards decide (see `choices`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..constraints import Dim, Ids, Symbol, Way
from .registry import Call, ConstantIndex, Dims, register_rule
from .slices import shares, strided


@register_rule('aten.index')
def index(call: Call, x: Symbol, indices: Sequence[Symbol | None], *_: Any) -> Any:
    """Index by tensors: one that is constant takes positions; else what is indexed cannot change. The others pass."""
    part = _one_taken(call, x, indices)
    if part is not None:
        return part
    masked = _mask_rank(x, indices)
    if masked and len(x.shape) - masked + 1 == len(call.shape):
        return _masked(call, x, indices, masked)
    dims = _looked_up(call, x, indices)
    return dims if len(dims) == len(call.shape) else call.fixed(x)[0]


@register_rule('aten.index_put', 'aten.index_put_')
def index_put(call: Call, x: Symbol, indices: Sequence[Symbol | None], values: Symbol, *_: Any) -> Any:
    """Write values to positions that tensors of indices give: the other dimensions agree."""
    taken = _one_taken(call, x, indices)
    masked = 0 if taken is not None else _mask_rank(x, indices)
    if taken is not None:
        part = taken
        looked_up = [False] * len(x.shape)
    elif masked:
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
    if taken is not None:
        return x.dims
    kept = iter(dim for axis, dim in enumerate(met) if part[axis] is not None)
    return [None if dim is None or there else next(kept) for dim, there in zip(x.dims, looked_up)]


def _one_taken(call: Call, x: Symbol, indices: Sequence[Symbol | None]) -> list[Dim] | None:
    """Return the dims of ``x[indices]`` if the only index is constant, and takes positions that can change; else None."""
    found = [(axis, tensor) for axis, tensor in enumerate(indices) if tensor is not None]
    if len(found) != 1 or len(found[0][1].shape) != 1:
        return None
    axis, tensor = found[0]
    part = taken(call, x, axis, tensor, 0)
    return None if part is None else [*x.dims[:axis], part, *x.dims[axis + 1 :]]


@register_rule('aten.index_select')
def index_select(call: Call, x: Symbol, axis: int, positions: Symbol) -> Dims:
    """Take some positions of a dimension."""
    axis %= len(x.shape)
    part = taken(call, x, axis, positions, 0)
    if part is None:
        call.fix(x.dims[axis], reason=f'is looked up by its position in {call.operator}')
        call.fix(*positions.dims)
    return (*x.dims[:axis], part, *x.dims[axis + 1 :])


@register_rule('aten.gather', 'aten.take_along_dim')
def gather(call: Call, x: Symbol, *arguments: Any, **__: Any) -> Any:
    """Take positions along one dimension, which may be others at every place of the other dimensions."""
    positions = next(argument for argument in arguments if isinstance(argument, Symbol))
    axis = next((argument for argument in arguments if isinstance(argument, int)), None)
    if axis is None or len(positions.shape) != len(x.shape):
        return call.fixed(x, positions)[0]
    axis %= len(x.shape)
    part = taken(call, x, axis, positions, axis)
    if part is None:
        call.fix(x.dims[axis], positions.dims[axis], reason=f'is looked up by its position in {call.operator}')
    dims: list[Dim] = []
    for place, (own, other) in enumerate(zip(x.dims, positions.dims)):
        if place == axis:
            dims.append(part)
        elif positions.shape[place] == x.shape[place]:
            dims.append(call.same(own, other))
        else:
            call.fix(own if positions.shape[place] > 1 else None, other)
            dims.append(own if positions.shape[place] == 1 and call.shape[place] > 1 else None)
    return dims


@register_rule('aten.index_copy', 'aten.index_copy_', 'aten.index_add', 'aten.index_add_')
def write_positions(call: Call, x: Symbol, axis: int, positions: Symbol, values: Symbol, **__: Any) -> Any:
    """Write to some positions of a dimension, or add to them."""
    axis %= len(x.shape)
    if len(values.shape) != len(x.shape):
        return call.fixed(x, positions, values)[0]
    part = taken(call, x, axis, positions, 0)
    if part is None:
        call.fix(x.dims[axis], *positions.dims, reason=f'is looked up by its position in {call.operator}')
    for place, (own, new) in enumerate(zip(x.dims, values.dims)):
        call.same(part if place == axis else own, new)
    return x.dims


def taken(call: Call, x: Symbol, axis: int, positions: Symbol, along: int) -> Dim:
    """Return the identities that constant positions take of a dimension; None if it or they cannot be followed."""
    dim = x.dims[axis]
    known = call.constant_index(positions, along) if dim is not None and x.name is None else None
    if dim is None or known is None or len(known.values) < 2 or not _inside(known.values, len(dim)):
        return None
    call.fix(*positions.dims, reason='')
    if not known.holders:
        call.choose(dim, *_ways(call, dim, known))
    for holder in known.holders:
        other, _ = call.constraints.tables.setdefault(holder, (dim, tuple(known.values.tolist())))
        if len(other) != len(dim):
            call.fix(dim, other, reason=f'is one of several that {".".join(holder)} holds positions of')
        elif other is not dim:
            call.same(other, dim)
    return dim[known.values]


def _inside(values: Ids, size: int) -> bool:
    return bool(((values >= -size) & (values < size)).all())


def _ways(call: Call, dim: Ids, known: ConstantIndex) -> Iterator[Way]:
    """Yield how positions that the code computes may depend on the size: computed of a table, shares, constants."""
    size, values = len(dim), known.values
    reason = (
        f'is looked up in {call.operator} at positions that are constants of the code '
        '(in a buffer or an attribute of the module they would follow)'
    )
    if known.computed or np.array_equal(values, np.arange(size)[::-1]):
        yield Way()
    step = int(values[1] - values[0])
    if step > 0 and np.array_equal(values, values[0] + step * np.arange(len(values))):
        first, last = int(values[0]), min(size, int(values[-1]) + step)
        yield from shares(dim, first, last) if step == 1 else strided(dim, first, last, step)
    if len(values) == size:
        for parts in range(2, size // 2 + 1):
            if size % parts == 0 and np.array_equal(values, np.arange(size).reshape(parts, -1).T.reshape(-1)):
                rows = dim.reshape(parts, -1)
                yield Way(pairs=tuple((rows[0], row) for row in rows[1:]))
                yield Way(pairs=tuple((rows[:, 0], column) for column in rows.T[1:]))
        shift = int(np.flatnonzero(values == 0)[0]) if 0 in values else 0
        if shift and np.array_equal(values, np.roll(np.arange(size), shift)):
            yield from shares(dim, shift)
    held = dim[: int(values.max()) + 1] if values.min() >= 0 else dim
    yield Way(fixed=((held, reason),))


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
