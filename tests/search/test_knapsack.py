from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from helpers.searching import Chain, run
from hypothesis import given, settings, strategies as st

from nni_cafenet.search.budget import Budget
from nni_cafenet.search.evolution import Evolution
from nni_cafenet.search.knapsack import Knapsack
from nni_cafenet.search.sampling import LevelSpace

CHAIN = Chain(*[tuple(range(2, 18, 2))] * 6)


def falling(domain, seed=0, steep=3.0):
    """Importance that falls along the channels of each group."""
    rng = np.random.default_rng(seed)
    return {
        label: sorted(rng.gamma(1, size=width) ** steep, reverse=True) for label, width in domain.full_widths.items()
    }


def array(domain, widths):
    return np.array([[widths[label] for label in domain.choices]])


# --- against all widths of small spaces ---------------------------------------------------------------


def value(knapsack, domain, rows):
    """The value of widths (N, groups), by the formulas in the docstring."""
    total = np.zeros(len(rows))
    for index, label in enumerate(domain.choices):
        numbers = np.array(knapsack.importance[label])
        kept = np.concatenate([[0], numbers.cumsum()])[rows[:, index]]
        everything = numbers.sum()
        total += kept if knapsack.objective == 'sum' else -numbers.mean() * (everything - kept) / kept
    return total


def optimality(seed, objective, limits):
    """The value that is found and the largest one of all widths within the budget, of a random chain."""
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 5))
    sizes = [rng.choice(np.arange(1, 33), size=rng.integers(1, 8), replace=False) for _ in range(groups)]
    domain = Chain(*[tuple(sorted(each.tolist())) for each in sizes])
    knapsack = Knapsack(falling(domain, seed, rng.choice([0.3, 1, 3])), objective=objective)
    least, full = (domain.macs(np.array([[each[place] for each in domain.choices.values()]]))[0] for place in (0, -1))
    budget = {'macs': int(rng.integers(least, full + 1))}
    if limits == 2:
        few, many = (sum(each[place] for each in domain.choices.values()) for place in (0, -1))
        budget['params'] = int(rng.integers(few, many + 1))
    parsed = Budget.parse(budget, domain)
    widths = knapsack.widths(domain, parsed)
    assert parsed.allows(array(domain, widths))[0]
    rows = domain.all()
    best = value(knapsack, domain, rows[parsed.allows(rows)]).max()
    return value(knapsack, domain, array(domain, widths))[0], best


@pytest.mark.parametrize('limits', [1, 2])
@pytest.mark.parametrize('objective', ['noise', 'sum'])
def test_nearly_always_the_best_of_all_widths(objective, limits):
    pairs = [optimality(seed, objective, limits) for seed in range(25)]
    assert all(found <= best + 1e-9 for found, best in pairs)
    assert sum(found >= best - 1e-6 * abs(best) for found, best in pairs) >= 24


# --- what holds for every space -----------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(percent=st.integers(4, 100), seed=st.integers(0, 99), objective=st.sampled_from(['noise', 'sum']))
def test_within_the_budget_and_no_group_can_grow(percent, seed, objective):
    budget = Budget.parse(f'{percent}%', CHAIN)
    widths = Knapsack(falling(CHAIN, seed), objective=objective).widths(CHAIN, budget)
    assert CHAIN.macs(array(CHAIN, widths))[0] <= budget.limits['macs']
    for label, allowed in CHAIN.choices.items():
        for more in allowed:
            wider = CHAIN.macs(array(CHAIN, {**widths, label: more}))[0]
            assert more <= widths[label] or wider > budget.limits['macs']


def test_channels_of_no_importance_fill_what_is_left():
    numbers = {label: [1.0] + [0.0] * (width - 1) for label, width in CHAIN.full_widths.items()}
    for importance in (numbers, {label: [0.0] * width for label, width in CHAIN.full_widths.items()}):
        for objective in ('noise', 'sum'):
            widths = Knapsack(importance, objective=objective).widths(CHAIN, '50%')
            assert 0.9 < Budget.parse('50%', CHAIN).usage(array(CHAIN, widths))[0] <= 1


def test_the_full_and_the_smallest_network():
    knapsack = Knapsack(falling(CHAIN))
    assert knapsack.widths(CHAIN, '100%') == CHAIN.full_widths
    least = {label: allowed[0] for label, allowed in CHAIN.choices.items()}
    assert knapsack.widths(CHAIN, int(CHAIN.macs(array(CHAIN, least))[0])) == least


def test_a_cost_that_is_no_polynomial():
    class Table:
        """Latency in steps, which does not change within one."""

        def latency(self, widths):
            return 1000 * (widths // 4).sum(axis=1) + 1000

        def fingerprint(self):
            return ''

    budget = Budget({'latency': 13000}, CHAIN, Table())
    widths = Knapsack(falling(CHAIN)).widths(CHAIN, budget)
    assert budget.usage(array(CHAIN, widths))[0] == 1
    assert all(width % 4 == 2 or width == 16 for width in widths.values())  # the last width of each step


# --- as a searcher ------------------------------------------------------------------------------------


def test_one_proposal_whatever_seed_and_scores():
    knapsack = Knapsack(falling(CHAIN))
    runs = [run(knapsack, CHAIN, '40%', seed, lambda widths: math.nan) for seed in (0, 1)]
    ((batch, _),) = runs[0]
    assert batch == [knapsack.widths(CHAIN, '40%')] == runs[1][0][0]
    assert all(type(width) is int for width in batch[0].values())
    assert knapsack.total == 1
    proposals = knapsack.propose(CHAIN, Budget.parse('40%', CHAIN), np.random.default_rng(0))
    next(proposals)
    with pytest.raises(ValueError, match='1 widths were proposed'):
        proposals.send([])


def test_the_first_generation_of_an_evolution():
    knapsack = Knapsack(falling(CHAIN))
    searcher = Evolution(8, 2, initial=['uniform', knapsack])
    for spec in ('30%', '60%'):
        (first, _), _ = run(searcher, CHAIN, spec, 0, lambda widths: 0.0)
        assert knapsack.widths(CHAIN, spec) in first
        assert len(first) == 8
    both = Evolution(8, 1, initial=[dict.fromkeys(CHAIN.choices, 2), knapsack])
    ((first, _),) = run(both, CHAIN, '30%', 0, lambda widths: 0.0)
    assert first[1] == knapsack.widths(CHAIN, '30%')
    assert run(searcher, CHAIN, '30%', 0, hash_of) == run(
        pickle.loads(pickle.dumps(searcher)), CHAIN, '30%', 0, hash_of
    )


def hash_of(widths):
    return float(sum(index * width for index, width in enumerate(widths.values())) % 17)


def test_text_equality_and_serialization():
    knapsack = Knapsack({'a': [2, 1.0], 'b': (0.5,)}, objective='sum')
    assert repr(knapsack).startswith('Knapsack(2 groups [')
    assert Knapsack(**knapsack.to_dict()) == knapsack
    assert knapsack == Knapsack({'a': [2 + 1e-9, 1], 'b': [0.5]}, objective='sum')  # rounded
    others = Knapsack({'a': [2, 1.1], 'b': [0.5]}, objective='sum'), Knapsack(knapsack.importance)
    assert all(each != knapsack and repr(each) != repr(knapsack) for each in others)


@pytest.mark.parametrize(
    ('importance', 'options', 'error', 'said'),
    [
        ([1.0], {}, TypeError, 'importance: list must be'),
        ({'a': 3}, {}, TypeError, r"importance\['a'\] must be numbers"),
        ({'a': ['x']}, {}, TypeError, r"importance\['a'\] must be numbers"),
        ({'a': [1.0, -1.0]}, {}, ValueError, r"importance\['a'\] has -1.0; give finite numbers, 0 or more"),
        ({'a': [math.nan]}, {}, ValueError, 'has nan; give finite'),
        ({}, {'objective': 'max'}, ValueError, "objective='max' must be one of noise, sum"),
    ],
)
def test_bad_arguments(importance, options, error, said):
    with pytest.raises(error, match=said):
        Knapsack(importance, **options)


def test_importance_of_another_space():
    numbers = falling(CHAIN)
    with pytest.raises(ValueError, match='importance: no numbers for layer0; give those of every group'):
        Knapsack({label: each for label, each in numbers.items() if label != 'layer0'}).widths(CHAIN, '50%')
    with pytest.raises(ValueError, match=r"importance\['layer0'\] has 15 numbers; .* widths have up to 16"):
        Knapsack({**numbers, 'layer0': numbers['layer0'][:-1]}).widths(CHAIN, '50%')


def test_levels_are_those_of_the_widths():
    space = LevelSpace(CHAIN, Budget.parse('50%', CHAIN))
    knapsack = Knapsack(falling(CHAIN))
    assert space.as_dicts(knapsack.levels(space)[None]) == [knapsack.widths(CHAIN, '50%')]
