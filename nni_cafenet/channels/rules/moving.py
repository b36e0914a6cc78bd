"""Operators that move channels."""

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
