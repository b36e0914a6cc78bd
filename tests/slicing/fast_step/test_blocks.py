from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st

from nni_cafenet.slicing.fast_step.blocks import (
    bounding_box,
    covers,
    in_blocks,
    paired_blocks,
    read,
    selected_shape,
    write,
)
from nni_cafenet.slicing.index_runs import IndexRuns
from nni_cafenet.slicing.selection import put, take


def runs_of(positions: list[int]) -> IndexRuns:
    """The runs of ascending positions, the slow way."""
    starts, lengths = [], []
    for position in positions:
        if starts and position == starts[-1] + lengths[-1]:
            lengths[-1] += 1
        else:
            starts.append(position)
            lengths.append(1)
    return IndexRuns(starts, lengths)


def subset(size: int) -> st.SearchStrategy:
    """Positions of a dimension, ascending: any, or a prefix with a gap, as channel sets have it; None for all."""
    some = st.sets(st.integers(0, size - 1), min_size=1).map(sorted)
    prefix = st.integers(1, size).flatmap(lambda width: st.just(list(range(width))))
    return st.one_of(st.none(), some, prefix)


@st.composite
def selections(draw):
    shape = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    return shape, [draw(subset(size)) for size in shape]


def test_nothing_selected():
    assert read(torch.arange(6.0).reshape(2, 3), (None, IndexRuns([], []))).shape == (2, 0)


def test_one_block_is_a_view_and_several_are_not():
    x = torch.arange(12.0).reshape(3, 4)
    assert read(x, (IndexRuns([1], [2]), None)).data_ptr() == x[1].data_ptr()
    assert read(x, (IndexRuns([0, 2], [1, 1]), None)).tolist() == x[[0, 2]].tolist()
    assert read(x, ()) is x


@pytest.fixture(params=[0, 1 << 14], ids=['in blocks', 'gathered'])
def small(request, monkeypatch):
    monkeypatch.setattr('nni_cafenet.slicing.fast_step.blocks._SMALL', request.param)


@pytest.mark.usefixtures('small')
@given(selection=selections(), last=st.booleans())
def test_parts_are_those_of_the_slow_path(selection, last):
    shape, positions = selection
    axes = tuple(None if chosen is None else runs_of(chosen) for chosen in positions)
    indices = tuple(None if chosen is None else torch.tensor(chosen) for chosen in positions)
    x = torch.randn(shape)
    if last and len(shape) == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    part = read(x, axes)
    assert tuple(part.shape) == selected_shape(x, axes)
    assert torch.equal(part, take(x, indices))
    expected = torch.zeros_like(x)
    put(expected, indices, part)
    if in_blocks(axes, part.shape):
        copied = torch.full(part.shape, torch.nan)
        wholes, blocks = paired_blocks(x, copied, axes)
        torch._foreach_copy_(blocks, wholes)
        assert torch.equal(copied, part)
    y, z = x.clone(), x.clone()
    values = torch.randn(part.shape)
    put(y, indices, values)
    write([z], [axes], [values])
    assert torch.equal(y, z)
    rest = bounding_box(z, axes)
    assert all(n <= m for n, m in zip(rest.shape, x.shape))
    rest.zero_()
    assert not read(z, axes).any()


@given(size=st.integers(1, 12), data=st.data())
def test_a_selection_covers_what_lies_within_it(size, data):
    a, b = data.draw(subset(size)), data.draw(subset(size))
    left, right = (None if chosen is None else runs_of(chosen) for chosen in (a, b))
    inside = set(range(size) if b is None else b) <= set(range(size) if a is None else a)
    # None is all, which a run may also be, but need not be known to be
    assert covers((left,), (right,)) == (inside and (right is not None or left is None))
