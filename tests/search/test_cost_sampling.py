from __future__ import annotations

import numpy as np
import pytest
import torch

from nni_cafenet import CostBins, EqualBins, NearBudget, UniformWidths, WidthMutator
from nni_cafenet.testing import SmallResNet


@pytest.fixture(scope='module')
def space():
    torch.manual_seed(0)
    return WidthMutator(bins=EqualBins(8), verify=False).mutate(SmallResNet, example_input=(1, 1, 8, 8))


def shares(space, sampling, number=200):
    rng = np.random.default_rng(0)
    drawn = [widths for _ in range(number) for widths in sampling.draw(space, rng)]
    for widths in drawn:
        assert all(width in space.choices[label] for label, width in widths.items())
    return np.array([space.macs(widths) for widths in drawn]) / space.macs(space.full_widths)


def test_half_of_the_widths_lie_near_the_budget(space):
    found = shares(space, NearBudget(share=0.5, budget='30%'))
    near = (found <= 0.3) & (found >= 0.8 * 0.3)
    plain = shares(space, UniformWidths())
    by_chance = ((plain <= 0.3) & (plain >= 0.8 * 0.3)).mean()
    assert near.mean() == pytest.approx(0.5 + 0.5 * by_chance, abs=0.1)
    everything = shares(space, NearBudget(share=1, floor=0.9, budget='30%'), 30)
    assert (everything <= 0.3).all()
    assert (everything >= 0.9 * 0.3).all()


def test_several_budgets_take_turns(space):
    found = shares(space, NearBudget(share=1, budget=['60%', '20%']), 60)
    assert ((found > 0.3).sum(), (found < 0.3).sum()) == (pytest.approx(30, abs=15), pytest.approx(30, abs=15))


def test_all_bins_of_costs_come_equally_often(space):
    found = shares(space, CostBins(number=4), 200)
    least = space.macs(space.smallest_widths) / space.macs(space.full_widths)
    counts = np.histogram(found, np.linspace(least, 1 + 1e-9, 5))[0]
    assert (abs(counts - 50) < 28).all(), counts
    plain = np.histogram(shares(space, UniformWidths()), np.linspace(least, 1 + 1e-9, 5))[0]
    assert plain.max() > 90  # which gather in the middle


def test_the_budget_is_that_of_the_run_where_none_is_given(space):
    assert NearBudget().for_budget('40%') == NearBudget(budget='40%')
    assert NearBudget(budget='20%').for_budget('40%') == NearBudget(budget='20%')
    assert CostBins().for_budget('40%') == CostBins()
    NearBudget(budget={'macs': '40%', 'latency': '5ms'}).check(space)
    for budget, said in (
        (None, 'a budget is missing'),
        ({'latency': '5ms'}, 'limits only latency'),
        ('0.001%', 'allows'),
    ):
        with pytest.raises(ValueError, match=said):
            NearBudget(budget=budget).check(space)


@pytest.mark.parametrize(
    ('options', 'said'), [({'share': 2}, 'share=2'), ({'floor': -1}, 'floor=-1'), ({'per_step': 0}, 'per_step=0')]
)
def test_options_that_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        NearBudget(**options)
    with pytest.raises(ValueError, match='number=0'):
        CostBins(number=0)
