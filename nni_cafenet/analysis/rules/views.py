"""Views other than reshapes: sliding windows, diagonals, triangles, quarter turns, differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..constraints import Symbol
from .registry import Call, Dims, register_rule


@register_rule('aten.unfold')
def windows(call: Call, x: Symbol, axis: int, *_: Any) -> Dims:
    """Take windows along one dimension, which cannot change; the positions of a window are a new last dimension."""
    return (*call.without(x, [axis]), None)


@register_rule('aten.tril', 'aten.triu')
def triangle(call: Call, x: Symbol, *_: Any) -> Dims:
    """Keep one triangle of matrices, the last two dimensions."""
    return call.without(x, (-2, -1))


@register_rule('aten.diagonal', 'aten.linalg_diagonal')
def diagonal(call: Call, x: Symbol, offset: int = 0, first: int = 0, second: int = 1, **keywords: Any) -> Dims:
    """Take the diagonal of two dimensions, as a new last one."""
    if call.operator == 'aten.linalg_diagonal':
        first, second = -2, -1
    axes = {keywords.get('dim1', first) % len(x.shape), keywords.get('dim2', second) % len(x.shape)}
    dims = call.without(x, axes)
    return (*(dim for axis, dim in enumerate(dims) if axis not in axes), None)


@register_rule('aten.diag_embed')
def diagonal_matrix(call: Call, x: Symbol, offset: int = 0, first: int = -2, second: int = -1) -> Dims:
    """Put the last dimension on the diagonal of two new ones."""
    call.fix(x.dims[-1])
    kept = iter(x.dims[:-1])
    axes = {first % len(call.shape), second % len(call.shape)}
    return [None if axis in axes else next(kept) for axis in range(len(call.shape))]


@register_rule('aten.one_hot')
def one_hot(call: Call, x: Symbol, *_: Any) -> Dims:
    """Turn every whole number into a row, a new last dimension."""
    return (*x.dims, None)


@register_rule('aten.rot90')
def quarter_turns(call: Call, x: Symbol, turns: int = 1, axes: Sequence[int] = (0, 1)) -> Dims:
    """Turn two dimensions, which cannot change."""
    return call.without(x, axes)


@register_rule('aten.diff')
def difference(call: Call, x: Symbol, number: int = 1, axis: int = -1, *ends: Symbol | None) -> Dims:
    """Subtract neighbors along one dimension, which cannot change."""
    dims = call.without(x, [axis])
    for end in ends:
        if end is not None:
            other = call.without(end, [axis])
            dims = [call.same(left, right) for left, right in zip(dims, other)]
    return dims


@register_rule('aten.trapezoid', 'aten.trapz')
def integral(call: Call, x: Symbol, places: Any = None, *, dim: int = -1, **__: Any) -> Dims:
    """Integrate along one dimension, which cannot change."""
    if isinstance(places, Symbol):
        call.fix(*places.dims)
    axis = dim % len(x.shape)
    return [each for index, each in enumerate(call.without(x, [axis])) if index != axis]
