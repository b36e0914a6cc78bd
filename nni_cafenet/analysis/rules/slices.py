"""Operators that take positions of a dimension by numbers in the code: slices, rolls, single positions.

A number may be a share of the size of its dimension (``x[:, : x.shape[1] // 8]``) or a constant (``x[:, :3]``). The
operators do not show which, so each is a choice that real forwards decide (see `choices`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..constraints import Ids, Symbol, Way
from .registry import Call, Dims, register_rule

_REMEDY = 'shares of its size, or numbers that the module keeps, would follow'


@register_rule('aten.slice')
def cut(call: Call, x: Symbol, axis: int = 0, start: Any = 0, end: Any = None, step: int = 1) -> Dims:
    """Keep a range of one dimension; every second position, say, if ``step`` is 2."""
    axis %= len(x.shape)
    dim = x.dims[axis]
    full, size = x.shape[axis], call.shape[axis]
    if dim is None or full == size:
        return x.dims
    first, last = _within(start or 0, full), _within(full if end is None else end, full)
    part = dim[first:last:step]
    reason = f'is cut at fixed positions by {call.operator} ({_REMEDY})'
    if size == 0:
        call.fix(dim, reason=reason)
    elif step != 1:
        call.choose(dim, *strided(dim, first, last, step), Way(fixed=((dim, reason),)))
    else:
        held = np.union1d(_anchored(dim, start or 0), _anchored(dim, full if last == full else end))
        constant = Way(fixed=((held, reason), (part if size == 1 else part[:0], reason)))
        call.choose(dim, *shares(dim, first, last), constant)
    return (*x.dims[:axis], part if size > 1 else None, *x.dims[axis + 1 :])


def _within(bound: int, full: int) -> int:
    return min(max(bound + full if bound < 0 else bound, 0), full)


def _anchored(dim: Ids, bound: int) -> Ids:
    """Return the positions that must never change for a constant bound to stay where it is."""
    if bound < 0:
        return dim[bound:]
    return dim[:bound] if bound < len(dim) else dim[:0]


def shares(dim: Ids, *bounds: int) -> list[Way]:
    """Return the way in which bounds are shares of a size: equal parts keep the same positions; none for parts of 1."""
    unit = math.gcd(len(dim), *bounds)
    if unit in (1, len(dim)):
        return []
    rows = dim.reshape(-1, unit)
    return [Way(pairs=tuple((rows[0], row) for row in rows[1:]))]


def strided(dim: Ids, first: int, last: int, step: int) -> list[Way]:
    """Return the way in which steps stay whole: neighbors are kept or removed together; none if the last is not whole."""
    if last != len(dim) or first >= step or len(dim) % step:
        return []
    rows = dim.reshape(-1, step)
    return [Way(pairs=tuple((rows[:, 0], rows[:, column]) for column in range(1, step)))]


@register_rule('aten.narrow')
def narrow(call: Call, x: Symbol, axis: int, start: Any, length: int) -> Dims:
    """Keep a range of one dimension, as `cut`."""
    first = start if isinstance(start, int) else 0
    if isinstance(start, Symbol):
        call.fix(x.dims[axis], reason='is cut at a place that is computed by aten.narrow')
    return cut(call, x, axis, first, first + length if first >= 0 or first + length < 0 else None)


@register_rule('aten.slice_scatter')
def write_slice(
    call: Call, x: Symbol, part: Symbol, axis: int = 0, start: Any = 0, end: Any = None, step: int = 1
) -> Dims:
    """Return a tensor with a range of one dimension replaced."""
    taken = cut(replace(call, shapes=(part.shape,)), x, axis, start, end, step)
    for index, (whole, own, new) in enumerate(zip(x.dims, taken, part.dims)):
        call.same(own if index == axis % len(x.shape) else whole, new)
    return x.dims


@register_rule('aten.select')
def select(call: Call, x: Symbol, axis: int, index: Any) -> Dims:
    """Take one position of a dimension."""
    axis %= len(x.shape)
    call.fix(x.dims[axis], reason='is indexed at a fixed position by aten.select')
    return (*x.dims[:axis], *x.dims[axis + 1 :])


@register_rule('aten.roll')
def roll(call: Call, x: Symbol, shifts: Any, axes: Any = ()) -> Dims:
    """Shift positions by shares of a dimension or by constants; without axes over all dimensions as one."""
    shifts = [shifts] if isinstance(shifts, int) else list(shifts)
    axes = [axes] if isinstance(axes, int) else list(axes)
    reason = f'is shifted by a fixed number of positions in aten.roll ({_REMEDY})'
    dims = list(x.dims)
    if not axes:
        call.fix(*dims, reason=reason)
        return [None for _ in dims]
    for shift, axis in zip(shifts, axes):
        dim = dims[axis]
        if dim is not None and shift % len(dim):
            around = dim[-shift:] if shift > 0 else dim[:-shift]  # what leaves at one end and enters at the other
            call.choose(dim, *shares(dim, shift % len(dim)), Way(fixed=((around, reason),)))
            dims[axis] = np.roll(dim, shift)
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
        call.constraints.cut(list(rows))
        part = call.same(*rows)
    return [(*x.dims[:axis], part, *x.dims[axis + 1 :]) for _ in sizes]


@register_rule('aten.split', 'aten.split_with_sizes', 'aten.unsafe_split', 'aten.unsafe_split_with_sizes')
def split(call: Call, x: Symbol, sizes: Any, axis: int = 0) -> Any:
    """Cut a dimension into parts of several sizes, which may be sizes of the model's layers.

    Equal parts keep the same positions, as do parts of a parameter that are multiples of the smallest one (the weights of
    queries next to those of keys and values). Parts that were joined at the same places before may change independently.
    Any other cut is a choice: at attributes (see `width_attributes`), where parts of one size keep the same positions; at
    shares of the dimension's size; at the size of what the layer before reads (``split(layer(x), [x.shape[-1], ...])``); or
    at constants before the last part.
    """
    axis %= len(x.shape)
    dim = x.dims[axis]
    lengths = [shape[axis] for shape in call.shapes]
    if dim is None or (len(set(lengths)) == 1 and len(lengths) > 1 and not isinstance(sizes, Symbol)):
        return chunk(call, x, len(lengths), axis)
    places = np.cumsum(lengths)[:-1]
    parts: list[Any] = list(np.split(dim, places))
    smallest = min(lengths)
    if isinstance(sizes, Symbol) or len(lengths) == 1 or smallest == 0:
        natural = False
    elif x.name is not None and smallest > 1 and not any(length % smallest for length in lengths):
        natural = True
        call.same(*dim.reshape(-1, smallest))
    else:
        natural = smallest > 1 and bool((dim[places] != dim[places - 1] + 1).all())
    reason = f'is cut at fixed positions by {call.operator} ({_REMEDY})'
    if isinstance(sizes, Symbol) or len(lengths) == 1 or smallest == 0:
        call.fix(dim, reason=reason)
        parts = [None for _ in lengths]
    else:
        call.constraints.cut(np.split(dim, places))
        if not natural:
            constant = Way(fixed=((dim[: places[-1]], reason), *_single(parts, reason)))
            ways = [*shares(dim, *places.tolist()), *_parts_as_read(call, dim, parts, reason), constant]
            call.choose(dim, _parts_of_one_size(dim, parts, reason), *ways)
            parts = [None if len(part) == 1 else part for part in parts]
    return [(*x.dims[:axis], part, *x.dims[axis + 1 :]) for part in parts]


def _parts_of_one_size(dim: Ids, parts: Sequence[Ids], reason: str) -> Way:
    """Tie parts of one size; single positions never change."""
    first: dict[int, Ids] = {}
    pairs = tuple((first.setdefault(len(part), part), part) for part in parts if len(part) > 1)
    return Way(pairs, _single(parts, reason), ((dim, reason),))


def _parts_as_read(call: Call, dim: Ids, parts: Sequence[Ids], reason: str) -> list[Way]:
    """Tie parts to the input of the layer that computes them, where sizes are equal; the others never change."""
    owner = call.constraints.owner(dim)
    weight = None if owner is None else call.constraints.parameters[owner[0]]
    read = weight.dims[1] if weight is not None and owner[1] == 0 and len(weight.dims) > 1 else None  # type: ignore[index]
    if read is None or any(read[0] in fixed for fixed, _ in call.constraints.fixed):
        return []
    alike = tuple(part for part in parts if len(part) == len(read))
    rest = tuple((part, reason) for part in parts if len(part) != len(read))
    return [Way(tuple((read, part) for part in alike), rest)] if alike else []


def _single(parts: Sequence[Ids], reason: str) -> tuple[tuple[Ids, str], ...]:
    return tuple((part, reason) for part in parts if len(part) == 1)
