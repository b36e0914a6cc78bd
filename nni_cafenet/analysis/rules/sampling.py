"""Operators that read or write at computed places: warping, unpooling, scattering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..constraints import Symbol
from .registry import Call, Dims, register_rule


@register_rule('aten.grid_sampler', 'aten.grid_sampler_2d', 'aten.grid_sampler_3d', 'aten.cudnn_grid_sampler')
def grid_sample(call: Call, x: Symbol, grid: Symbol, *_: Any) -> Dims:
    """Sample every channel at the same places: (N, C, *map) and (N, *output, coordinates) give (N, C, *output)."""
    samples = call.same(x.dims[0], grid.dims[0])
    call.fix(*x.dims[2:], *grid.dims[1:], reason=f'holds coordinates or places of a map in {call.operator}')
    return (samples, x.dims[1], *(None,) * (len(x.shape) - 2))


@register_rule('aten.affine_grid_generator')
def affine_grid(call: Call, theta: Symbol, *_: Any) -> Dims:
    """Make the places of a map from matrices (N, rows, columns), which cannot change."""
    call.fix(*theta.dims[1:], reason=f'holds the coefficients of {call.operator}')
    return (theta.dims[0], *(None,) * (len(call.shape) - 1))


@register_rule('aten.max_unpool2d', 'aten.max_unpool3d')
def max_unpooling(call: Call, x: Symbol, places: Symbol, size: Sequence[int], *_: Any) -> Dims:
    """Write values to the places that a pooling took them from; those lie within a channel."""
    rank = len(size)
    call.fix(*x.dims[-rank:], *places.dims[-rank:], reason='')
    leading = [call.same(left, right) for left, right in zip(x.dims[:-rank], places.dims[:-rank])]
    return (*leading, *(None,) * rank)


@register_rule('aten.fractional_max_pool2d', 'aten.fractional_max_pool3d')
def fractional_max_pooling(call: Call, x: Symbol, kernel: Any, size: Sequence[int], samples: Symbol) -> list[Dims]:
    """Pool regions whose borders are random numbers of every channel. Samples: (N, C, numbers)."""
    rank = len(size)
    call.fix(*x.dims[-rank:], samples.dims[0], samples.dims[2], reason='')
    if samples.dims[1] is None:
        call.fix(
            x.dims[-rank - 1], reason=f'is pooled by {call.operator} with random numbers that the model does not hold'
        )
    channels = call.same(x.dims[-rank - 1], samples.dims[1])
    return [(*x.dims[: -rank - 1], channels, *(None,) * rank) for _ in call.shapes]


@register_rule(*(f'aten.scatter{name}{suffix}' for name in ('', '_add', '_reduce') for suffix in ('', '_')))
def scatter(call: Call, x: Symbol, axis: int, places: Symbol, source: Any = None, *_: Any, **__: Any) -> Dims:
    """Write values to, or add them at, places along one dimension, which cannot change; the others agree."""
    symbols = [x, places, *([source] if isinstance(source, Symbol) else [])]
    call.fix(*(symbol.dims[axis] for symbol in symbols), reason=f'is looked up by its position in {call.operator}')
    dims = list(x.dims)
    dims[axis] = None
    for other in range(len(x.shape)):
        for symbol in symbols[1:]:
            if other == axis % len(x.shape) or (symbol is places and symbol.dims[other] is None):
                continue  # the code gives places their size
            if symbol.shape[other] != x.shape[other]:
                call.fix(dims[other], symbol.dims[other])
                dims[other] = None
            else:
                dims[other] = call.same(dims[other], symbol.dims[other])
    return dims


@register_rule('aten.index_fill', 'aten.index_fill_')
def fill_places(call: Call, x: Symbol, axis: int, places: Symbol, *_: Any) -> Dims:
    """Fill places along one dimension, which cannot change."""
    reason = f'is looked up by its position in {call.operator}'
    call.fix(*places.dims, reason=reason)
    return call.without(x, [axis], reason)


@register_rule('aten.bucketize')
def bucketize(call: Call, x: Symbol, borders: Symbol, **__: Any) -> Dims:
    """Find the place of every value among sorted borders."""
    call.fix(*borders.dims)
    return x.dims


@register_rule('aten.searchsorted')
def search_sorted(call: Call, borders: Symbol, x: Any, **__: Any) -> Dims:
    """Find the place of every value among sorted borders, one row of them for all or one for each row."""
    if not isinstance(x, Symbol):
        return call.fixed(borders)[0]
    call.fix(borders.dims[-1])
    shared = len(borders.shape) == 1
    return x.dims if shared else (*(call.same(*pair) for pair in zip(x.dims[:-1], borders.dims[:-1])), x.dims[-1])
