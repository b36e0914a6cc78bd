"""Slices of tensors, read and written block by block.

Copying blocks takes a third of the time of gathering positions. Small slices are gathered: a view takes longer than the
copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...utils import copy_each
from ..index_runs import Axes, IndexRuns, open_index

__all__ = [
    'bounding_box',
    'covers',
    'gather',
    'in_blocks',
    'index_of',
    'paired_blocks',
    'read',
    'selected_shape',
    'write',
]

_FEW = 4  # most runs of a dimension that are copied one by one; more are gathered
_SMALL = 1 << 14  # elements of the largest slice that is gathered even with few runs


def selected_shape(tensor: Tensor, axes: Axes) -> tuple[int, ...]:
    """Return the shape of a slice."""
    return tuple([whole if runs is None else runs.size for whole, runs in zip(tensor.shape, axes)])


def bounding_box(tensor: Tensor, axes: Axes) -> Tensor:
    """Return a view from the first to the last selected position of every dimension."""
    shape, strides, offset = list(tensor.shape), tensor.stride(), tensor.storage_offset()
    for axis, runs in enumerate(axes):
        if runs is not None:
            offset += runs.starts[0] * strides[axis]
            shape[axis] = runs.span
    return tensor.as_strided(shape, strides, offset)  # a single view; `narrow` makes one per dimension


def covers(axes: Axes, others: Axes) -> bool:
    """Whether a selection contains another one of the same tensor."""
    return all(runs is None or (other is not None and _is_within(other, runs)) for runs, other in zip(axes, others))


def _is_within(other: IndexRuns, runs: IndexRuns) -> bool:
    at = 0
    for start, length in zip(other.starts, other.lengths):
        while at < len(runs.starts) and runs.starts[at] + runs.lengths[at] <= start:
            at += 1
        if at == len(runs.starts) or runs.starts[at] > start or runs.starts[at] + runs.lengths[at] < start + length:
            return False
    return True


def read(tensor: Tensor, axes: Axes) -> Tensor:
    """Return a slice of a tensor: a view of a single block, else a copy. Not for use under autograd."""
    if not axes:
        return tensor
    return gather(tensor, axes) if _axes_of_many_runs(axes) else bounding_box(tensor, axes)


def write(tensors: Sequence[Tensor], axes: Sequence[Axes], slices: Sequence[Tensor]) -> None:
    """Write slices into tensors, in place. Not for use under autograd."""
    wholes: list[Tensor] = []
    blocks: list[Tensor] = []
    for tensor, chosen, sliced in zip(tensors, axes, slices):
        pairs = paired_blocks(tensor, sliced, chosen)
        if pairs is None:
            many = _axes_of_many_runs(chosen)
            _scatter(_box_of_one_run(tensor, chosen), chosen, many, sliced.to(tensor.dtype))
        else:
            wholes += pairs[0]
            blocks += pairs[1]
    if wholes:
        copy_each(wholes, blocks)


def gather(tensor: Tensor, axes: Axes, out: Tensor | None = None) -> Tensor:
    """Return a copy of a slice, by an index along each dimension of several runs."""
    *first, last = _axes_of_many_runs(axes)
    tensor = _box_of_one_run(tensor, axes)
    for axis in first:
        tensor = tensor.index_select(axis, _index(axes, axis, tensor))
    return torch.index_select(tensor, last, _index(axes, last, tensor), out=out)


def _scatter(box: Tensor, axes: Axes, many: Sequence[int], sliced: Tensor) -> None:
    """Write what `gather` reads, in a third of the time of one index over all dimensions."""
    axis, *others = many
    index = _index(axes, axis, box)
    if others:
        inner = box.index_select(axis, index)
        _scatter(inner, axes, others, sliced)
        sliced = inner
    box.index_copy_(axis, index, sliced)


def _index(axes: Axes, axis: int, tensor: Tensor) -> Tensor:
    return axes[axis].index(tensor.device)  # type: ignore[union-attr]


def _box_of_one_run(tensor: Tensor, axes: Axes) -> Tensor:
    """Return the bounding box along dimensions of one run, with all positions of the others."""
    return bounding_box(tensor, tuple([runs if runs is None or len(runs.starts) == 1 else None for runs in axes]))


def index_of(tensor: Tensor, axes: Axes) -> tuple[Tensor, ...]:
    """Return the index of a slice, one tensor per dimension."""
    return open_index(tensor, [None if runs is None else runs.index(tensor.device) for runs in axes])


def _axes_of_many_runs(axes: Axes) -> list[int]:
    return [axis for axis, runs in enumerate(axes) if runs is not None and len(runs.starts) > 1]


def in_blocks(axes: Axes, shape: Sequence[int]) -> bool:
    """Whether a slice of a given shape is copied in blocks, not gathered."""
    few = all(runs is None or len(runs.starts) <= _FEW for runs in axes)
    return few and (math.prod(shape) > _SMALL or not _axes_of_many_runs(axes))


def paired_blocks(whole: Tensor, sliced: Tensor, axes: Axes) -> tuple[list[Tensor], list[Tensor]] | None:
    """Return the blocks of a slice as views of the whole tensor and of the slice; None if it is to be gathered."""
    if not _axes_of_many_runs(axes):
        return [bounding_box(whole, axes) if axes else whole], [sliced]
    if not in_blocks(axes, sliced.shape):
        return None
    strides, sliced_strides = whole.stride(), sliced.stride()
    blocks = [(whole.storage_offset(), sliced.storage_offset(), list(whole.shape))]
    for axis, runs in enumerate(axes):
        if runs is not None:
            stride, step = strides[axis], sliced_strides[axis]
            blocks = [
                (at + first * stride, to + place * step, [*sizes[:axis], length, *sizes[axis + 1 :]])
                for at, to, sizes in blocks
                for first, place, length in runs.blocks
            ]
    return (
        [whole.as_strided(sizes, strides, at) for at, _, sizes in blocks],
        [sliced.as_strided(sizes, sliced_strides, to) for _, to, sizes in blocks],
    )
