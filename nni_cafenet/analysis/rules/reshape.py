"""Operators that move channels: reshapes, reorderings, repetitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..constraints import TOGETHER, Dim, Factors, Ids, Symbol, product
from .registry import Call, Dims, register_rule

_MOST = 10**7
"""Elements of the largest merge of two dimensions that is followed."""


@register_rule('aten.flatten', 'aten.view', 'aten.reshape', 'aten.unflatten', 'aten._unsafe_view', 'aten.squeeze')
@register_rule('aten.unsqueeze', 'aten.squeeze_', 'aten.unsqueeze_', 'aten.reshape_as', 'aten.view_as')
def reshape(call: Call, x: Symbol, *sizes: Any, **__: Any) -> Dims:
    """Split and merge neighboring dimensions, block by block.

    Of the parts of a channel dimension one changes: the only one that can, or the one with its size left open (-1: heads in
    ``x.view(batch, rows, -1, 64)``), or the last (see `settle`).
    """
    named = list(sizes[-1]) if sizes and isinstance(sizes[-1], (list, tuple)) else []
    if call.operator == 'aten.unflatten':  # its sizes are those of one dimension
        axis = sizes[0] % len(x.shape)
        named = [*x.shape[:axis], *named, *x.shape[axis + 1 :]]
    left_open = named.index(-1) if len(named) == len(call.shape) and -1 in named else None
    dims: list[Dim] = []
    for sources, targets in _blocks(x.shape, call.shape):
        dims.extend(_reshape_block(call, x, sources, targets, left_open))
    like = sizes[0] if sizes else None
    return [call.same(*pair) for pair in zip(dims, like.dims)] if isinstance(like, Symbol) else dims


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


def _reshape_block(call: Call, x: Symbol, sources: range, targets: range, left_open: int | None) -> list[Dim]:
    shape = call.shape[targets.start : targets.stop]
    block = [x.shape[axis] for axis in sources]
    tracked = [axis for axis in sources if x.dims[axis] is not None]
    if max(sum(size > 1 for size in sizes) for sizes in (block, shape)) > 1:
        repeated = [axis for axis in tracked if call.constraints.is_stretched(x.dims[axis])]
        call.fix(*(x.dims[axis] for axis in repeated), reason='')
        tracked = [axis for axis in tracked if axis not in repeated]
    if not tracked:
        return [None] * len(shape)
    if len(tracked) > 1 and product(block) > _MOST:
        call.fix(*(x.dims[axis] for axis in tracked), reason=f'{call.operator} merges two dimensions that could change')
        return [None] * len(shape)
    before = []
    for source in tracked:
        place = [1] * len(block)
        place[source - sources.start] = -1
        before.append(np.broadcast_to(np.reshape(x.dims[source], place), block).reshape(shape))  # type: ignore[arg-type]
    if len(tracked) > 1:
        inner = product(block[tracked[-1] - sources.start :])
        return _factors(call, before, [axis for axis, size in enumerate(shape) if size > 1], None, inner)
    dim, elements = x.dims[tracked[0]], before[0]
    varying = [axis for axis in range(len(shape)) if np.any(np.take(elements, [0], axis) != elements)]
    if not varying:
        call.fix(dim, reason=TOGETHER)
        return [None] * len(shape)
    if len(varying) > 1:
        call.constraints.split(dim, shape)  # type: ignore[arg-type]
        return _factors(call, before, varying, None if left_open is None else left_open - targets.start)
    axis = varying[0]
    columns = np.moveaxis(elements, axis, 0).reshape(shape[axis], -1)
    unique = _distinct_columns(columns)
    for column in range(1, unique.shape[1]):
        call.same(unique[:, 0], unique[:, column])
    return [unique[:, 0] if index == axis else None for index in range(len(shape))]


def _factors(
    call: Call, before: list[Ids], axes: list[int], left_open: int | None, inner: int | None = None
) -> list[Dim]:
    """Return new identities for several axes, one of which will change: what splits channels is groups, then channels.

    After every ``inner`` positions an identity is left out: parts may be cut where parts were joined (see `split`).
    """
    shape = before[0].shape
    dims: list[Dim] = [None] * len(shape)
    after = []
    for axis in axes:
        gaps = np.arange(shape[axis]) // (inner or shape[axis])
        own = call.constraints.new(shape[axis] + int(gaps[-1]))[0] + np.arange(shape[axis]) + gaps
        dims[axis] = own
        if len(before) == 1:
            call.constraints.stem(own, np.moveaxis(before[0], axis, 0).reshape(shape[axis], -1)[:, 0])
        place = [1] * len(shape)
        place[axis] = -1
        after.append(np.broadcast_to(own.reshape(place), shape).reshape(-1))
    order = sorted(range(len(axes)), key=lambda index: (axes[index] != left_open, -index))
    whole = tuple(elements.reshape(-1) for elements in before)
    call.constraints.factors.append(Factors(whole, tuple(after), tuple(order), call.operator))
    return dims


def _distinct_columns(columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distinct columns of an array, found by hash in linear time."""
    factors = np.random.default_rng(0).integers(1, 2**62, size=len(columns), dtype=np.int64)
    with np.errstate(over='ignore'):
        hashes = factors @ columns
    return columns[:, np.sort(np.unique(hashes, return_index=True)[1])]


@register_rule('aten.permute')
def permute(call: Call, x: Symbol, axes: Sequence[int]) -> Dims:
    """Reorder dimensions."""
    return [x.dims[axis] for axis in axes]


@register_rule('aten.transpose', 'aten.transpose_', 'aten.swapaxes', 'aten.swapdims')
def transpose(call: Call, x: Symbol, first: int, second: int) -> Dims:
    """Swap two dimensions."""
    dims = list(x.dims)
    dims[first], dims[second] = dims[second], dims[first]
    return dims


@register_rule('aten.t', 'aten.mT', 'aten.numpy_T')
def reverse(call: Call, x: Symbol) -> Dims:
    """Swap the last two dimensions, or reverse all."""
    if call.operator == 'aten.mT':
        return (*x.dims[:-2], x.dims[-1], x.dims[-2])
    return x.dims[::-1]


@register_rule('aten.movedim', 'aten.moveaxis')
def movedim(call: Call, x: Symbol, source: Any, target: Any) -> Dims:
    """Move dimensions to other places; the rest keep their order."""
    rank = len(x.shape)
    sources = [axis % rank for axis in ([source] if isinstance(source, int) else source)]
    targets = [axis % rank for axis in ([target] if isinstance(target, int) else target)]
    rest = iter(axis for axis in range(rank) if axis not in sources)
    return [x.dims[sources[targets.index(axis)] if axis in targets else next(rest)] for axis in range(rank)]


@register_rule('aten.flip')
def flip(call: Call, x: Symbol, axes: Sequence[int]) -> Dims:
    """Reverse the order of positions."""
    flipped = {axis % len(x.shape) for axis in axes}
    return [dim[::-1] if dim is not None and axis in flipped else dim for axis, dim in enumerate(x.dims)]


@register_rule('aten.expand', 'aten.expand_as')
def expand(call: Call, x: Symbol, like: Any = None, *_: Any, **__: Any) -> Dims:
    """Repeat dimensions of size 1, to a size of the model or to that of another tensor; the others stay as they are.

    A size of the model may be a constant or the width of another tensor, as in `indexing.new`.
    """
    new = len(call.shape) - len(x.shape)
    if isinstance(like, Symbol):
        return [
            call.same(dim, x.dims[axis - new]) if axis >= new and x.shape[axis - new] == like.shape[axis] > 1 else dim
            for axis, dim in enumerate(like.dims)
        ]
    return [None] * new + [
        dim if before == after else call.constraints.stretched(after)
        for dim, before, after in zip(x.dims, x.shape, call.shape[new:])
    ]


@register_rule('aten.repeat', 'aten.tile')
def repeat(call: Call, x: Symbol, repeats: Sequence[int]) -> Dims:
    """Append copies; missing dimensions or repeats are added on the left. A single position is repeated as by `expand`."""
    new = len(call.shape) - len(x.shape)
    times = [1] * (len(call.shape) - len(repeats)) + list(repeats)
    dims: list[Dim] = [None] * new
    for dim, size, count in zip(x.dims, x.shape, times[new:]):
        if dim is None:
            dims.append(call.constraints.stretched(count) if size == 1 < count else None)
        else:
            dims.append(np.tile(dim, count))
    return dims


@register_rule('aten.repeat_interleave')
def repeat_interleave(call: Call, x: Symbol, repeats: Any, axis: int | None = None, **__: Any) -> Any:
    """Repeat every position."""
    if not isinstance(repeats, int) or axis is None:
        return call.fixed(x, *(s for s in (repeats,) if isinstance(s, Symbol)))[0]
    axis %= len(x.shape)
    return [np.repeat(d, repeats) if d is not None and i == axis else d for i, d in enumerate(x.dims)]


@register_rule('aten.pixel_shuffle')
def pixel_shuffle(call: Call, x: Symbol, factor: int) -> Dims:
    """Turn factor * factor neighboring channels into the pixels of one; they are kept or removed together."""
    dim = x.dims[-3]
    call.fix(*x.dims[-2:], reason='')
    if dim is not None:
        rows = dim.reshape(-1, factor * factor)
        for column in range(1, factor * factor):
            call.same(rows[:, 0], rows[:, column])
        dim = rows[:, 0] if len(rows) > 1 else None
    return (*x.dims[:-3], dim, None, None)


@register_rule('aten.pixel_unshuffle')
def pixel_unshuffle(call: Call, x: Symbol, factor: int) -> Dims:
    """Turn the pixels of a channel into factor * factor neighboring channels."""
    call.fix(*x.dims[-2:], reason='')
    dim = x.dims[-3]
    return (*x.dims[:-3], None if dim is None else np.repeat(dim, factor * factor), None, None)


@register_rule('aten.channel_shuffle', 'aten.native_channel_shuffle')
def channel_shuffle(call: Call, x: Symbol, groups: int) -> Dims:
    """Interleave groups of channels (dimension 1), which all keep the same positions."""
    dim = x.dims[1]
    if dim is None:
        return x.dims
    rows = dim.reshape(groups, -1)
    call.same(*rows)
    return (x.dims[0], rows.T.reshape(-1), *x.dims[2:])


@register_rule('aten.col2im')
def fold(call: Call, x: Symbol, size: Any, kernel: Sequence[int], *_: Any) -> Dims:
    """Add up the kernel positions of every channel, which are neighbors, to a picture: (N, C, H, W)."""
    dim = x.dims[-2]
    call.fix(x.dims[-1], reason='')
    if dim is not None:
        rows = dim.reshape(-1, kernel[0] * kernel[1])
        for column in range(1, rows.shape[1]):
            call.same(rows[:, 0], rows[:, column])
        dim = rows[:, 0] if len(rows) > 1 else None
    return (*x.dims[:-2], dim, None, None)


@register_rule('aten.im2col')
def unfold(call: Call, x: Symbol, kernel: Sequence[int], *_: Any) -> Dims:
    """Turn the kernel positions of every channel into neighboring channels: (N, C * kernel, L)."""
    call.fix(*x.dims[-2:], reason='')
    dim = x.dims[-3]
    return (*x.dims[:-3], None if dim is None else np.repeat(dim, kernel[0] * kernel[1]), None)
