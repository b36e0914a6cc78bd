from __future__ import annotations

import numpy as np
import pytest
import torch

from nni_cafenet import EqualBins, Sandwich, UniformWidths, WidthMutator
from nni_cafenet.testing import SmallResNet


@pytest.fixture(scope='module')
def space():
    torch.manual_seed(0)
    return WidthMutator(bins=EqualBins(4), verify=False).mutate(SmallResNet, example_input=(1, 1, 8, 8))


def test_uniform_widths_are_drawn_group_by_group(space):
    rng, again = np.random.default_rng(0), np.random.default_rng(0)
    drawn = UniformWidths(per_step=3).draw(space, rng)
    assert len(drawn) == 3
    for widths in drawn:  # as it was before there were others: a seed trains the same supernet
        assert widths == {g.label: g.choices[int(again.integers(len(g.choices)))] for g in space.groups}
    assert rng.bit_generator.state == again.bit_generator.state
    assert not UniformWidths().begins_with_full


def test_a_sandwich(space):
    first, second, *others = Sandwich(between=2).draw(space, np.random.default_rng(0))
    assert first == space.full_widths
    assert second == space.smallest_widths
    assert others == UniformWidths(2).draw(space, np.random.default_rng(0))
    assert Sandwich().begins_with_full
    assert len(Sandwich(between=0).draw(space, np.random.default_rng(0))) == 2


@pytest.mark.parametrize('make', [lambda: UniformWidths(0), lambda: UniformWidths(True), lambda: Sandwich(-1)])
def test_numbers_that_are_refused(make):
    with pytest.raises(ValueError, match='must be a whole number'):
        make()
