from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from nni_cafenet.search.budget import Budget
from nni_cafenet.search.filling import filled, is_full
from nni_cafenet.search.sampling import LevelSpace
from nni_cafenet.search.uniform import uniform_levels, uniform_within


class Chain(SimpleNamespace):
    """Three groups in a row; a network costs the products of neighbors."""

    listed = False

    def __init__(self, step=1, full=24):
        widths = tuple(range(step, full + 1, step))
        super().__init__(choices=dict.fromkeys('abc', widths), full_widths=dict.fromkeys('abc', full))

    def macs(self, widths):
        array = np.asarray([[widths[label] for label in 'abc']] if isinstance(widths, dict) else widths, np.int64)
        cost = array[:, 0] + array[:, 0] * array[:, 1] + array[:, 1] * array[:, 2]
        return int(cost[0]) if isinstance(widths, dict) else cost

    params = macs


SPACE = Chain()
BUDGET = Budget.parse('50%', SPACE)


def test_what_is_left_goes_to_wider_versions():
    start, other, full = {'a': 12, 'b': 12, 'c': 12}, {'a': 3, 'b': 20, 'c': 18}, uniform_within(BUDGET)
    assert is_full(BUDGET, full)
    assert not is_full(BUDGET, start)
    assert not is_full(BUDGET, dict.fromkeys('abc', 24))  # too much
    found = filled(SPACE, BUDGET, [start, full, other], 10, np.random.default_rng(0))
    assert 2 <= len(found) <= 10
    assert len({tuple(each.values()) for each in found}) == len(found)
    assert found == filled(SPACE, BUDGET, [start, full, other], 10, np.random.default_rng(0))
    assert is_full(BUDGET, found[0])
    for each in found:
        assert any(all(each[label] >= less[label] for label in 'abc') for less in (start, other))
        grown = [{**each, label: each[label] + 1} for label in 'abc' if each[label] < 24]
        assert all(SPACE.macs(wider) > BUDGET.limits['macs'] for wider in grown)


def test_where_nothing_is_left_nothing_is_proposed():
    rng = np.random.default_rng(0)
    assert filled(SPACE, BUDGET, [uniform_within(BUDGET)], 4, rng) == []
    assert filled(SPACE, BUDGET, [], 4, rng) == []
    assert filled(SPACE, BUDGET, [{'a': 12, 'b': 12, 'c': 12}], 0, rng) == []
    coarse = Chain(8)
    assert filled(coarse, Budget.parse('50%', coarse), [{'a': 13, 'b': 13, 'c': 13}], 4, rng) == []  # not of the space


@pytest.mark.parametrize('step', [1, 2, 8])
def test_the_uniform_network_fills_the_budget_and_keeps_to_the_divisor(step):
    space = Chain(step)
    budget = Budget.parse('50%', space)
    levels = LevelSpace(space, budget)
    (on_grid,) = levels.as_dicts(uniform_levels(levels)[None])
    for widths in (uniform_within(budget), on_grid):
        assert space.macs(widths) <= budget.limits['macs']
        assert all(width in space.choices[label] for label, width in widths.items())
        assert max(widths.values()) - min(widths.values()) <= step
        if step == 1:
            assert is_full(budget, widths)


def test_the_uniform_network_keeps_to_the_smallest_and_largest_widths():
    space = Chain()
    space.choices['a'] = (20, 22, 24)
    widths = uniform_within(Budget.parse('60%', space))
    assert widths['a'] == 20
    assert space.macs(widths) <= 0.6 * space.macs(space.full_widths)
