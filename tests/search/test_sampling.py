from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from helpers.searching import Chain
from hypothesis import given, settings, strategies as st

from nni_cafenet.search.budget import Budget
from nni_cafenet.search.sampling import LevelSpace, enumerate_within, move_within, new_rows, sample_within

chains = st.lists(
    st.sets(st.integers(1, 12), min_size=1, max_size=4).map(lambda widths: tuple(sorted(widths))),
    min_size=1,
    max_size=5,
).map(lambda choices: Chain(*choices))


def some_budget(chain: Chain, share: float) -> Budget:
    """A budget at a share of the way from the smallest to the full network."""
    macs = chain.macs(chain.all())
    return Budget.parse(int(macs.min() + share * (macs.max() - macs.min())), chain)


def rows(widths) -> set[tuple[int, ...]]:
    return {tuple(row) for row in widths.tolist()}


def big_chain(groups: int, seed: int = 0) -> Chain:
    """2 to 64 choices a group, of 64 channels and more."""
    rng = np.random.default_rng(seed)
    return Chain(
        *(tuple(int(64 * i / n) for i in range(1, n + 1)) for n in rng.integers(2, 65, groups)),
    )


@settings(deadline=None, max_examples=60)
@given(
    chain=chains,
    share=st.floats(0, 1),
    floor=st.floats(0, 1),
    count=st.integers(0, 40),
    seed=st.integers(0, 9),
)
def test_samples_are_allowed_distinct_and_as_many_as_there_are(chain, share, floor, count, seed):
    budget = some_budget(chain, share)
    widths = sample_within(chain, budget, count, np.random.default_rng(seed), floor)
    allowed = chain.all()[budget.allows(chain.all())]
    assert widths.dtype == np.int64
    assert budget.allows(widths).all()
    assert rows(widths) <= rows(allowed)
    assert len(rows(widths)) == len(widths) == min(count, len(allowed))


@settings(deadline=None, max_examples=30)
@given(chain=chains, share=st.floats(0, 1), floor=st.floats(0.5, 1), seed=st.integers(0, 9))
def test_the_same_generator_gives_the_same_samples(chain, share, floor, seed):
    budget = some_budget(chain, share)
    first = sample_within(chain, budget, 20, np.random.default_rng(seed), floor)
    second = sample_within(chain, budget, 20, np.random.default_rng(seed), floor)
    np.testing.assert_array_equal(first, second)


def test_several_limits_hold_together():
    chain = Chain(*[tuple(range(1, 17))] * 6)
    budget = Budget.parse({'macs': '50%', 'params': '60%'}, chain)
    widths = sample_within(chain, budget, 500, np.random.default_rng(0))
    macs, params = chain.macs(widths), chain.params(widths)
    assert macs.max() <= budget.limits['macs']
    assert params.max() <= budget.limits['params']
    assert np.maximum(macs / budget.limits['macs'], params / budget.limits['params']).min() >= 0.8


def test_below_the_floor_come_the_nearest_and_last():
    chain = Chain((1, 2), (1, 4))
    # MACs 27 a + 9 a b: (1, 1) 36, (1, 4) 63, (2, 1) 72, (2, 4) 126.
    widths = sample_within(chain, Budget.parse(80, chain), 9, np.random.default_rng(0), floor=0.85)
    assert widths.tolist() == [[2, 1], [1, 4], [1, 1]]


def test_a_floor_that_chance_misses_is_lowered():
    chain = Chain(*[(1, 2)] * 20)  # a full network of 54 + 19 * 36 = 738 MACs
    budget = Budget.parse(737, chain)
    widths = sample_within(chain, budget, 3000, np.random.default_rng(0), floor=0.98)
    assert len(rows(widths)) == 3000
    assert budget.usage(widths)[0] >= 0.97  # the best there is: the last layer halved, 738 - 18 = 720
    assert budget.usage(widths).min() > 0.6


@pytest.mark.parametrize('share', [0.1, 0.3, 0.5, 0.7, 0.9])
def test_near_the_budget_and_quick(share):
    chain = big_chain(25)
    budget = Budget.parse(f'{100 * share:.0f}%', chain)
    start = time.perf_counter()
    widths = sample_within(chain, budget, 10_000, np.random.default_rng(0), floor=0.98)
    assert time.perf_counter() - start < 20  # 0.3 s; the machine may be busy
    assert len(rows(widths)) == 10_000
    usage = budget.usage(widths)
    assert usage.min() >= 0.98
    assert usage.max() <= 1


@pytest.mark.parametrize('groups', [25, 60])
def test_a_budget_just_above_the_smallest_network(groups):
    chain = big_chain(groups)
    smallest = chain.macs(np.array([[allowed[0] for allowed in chain.choices.values()]]))[0]
    budget = Budget.parse(int(1.02 * smallest), chain)
    start = time.perf_counter()
    widths = sample_within(chain, budget, 300, np.random.default_rng(0))
    assert time.perf_counter() - start < 20  # well below 1 s
    assert budget.allows(widths).all()
    everything = enumerate_within(LevelSpace(chain, budget), 300)
    assert len(rows(widths)) == min(300, len(everything))


def test_samples_are_diverse():
    chain = Chain(*[tuple(range(1, 33))] * 25)
    budget = Budget.parse('10%', chain)
    widths = sample_within(chain, budget, 2000, np.random.default_rng(0))
    # Also a small budget leaves every group free to be small, middling and full.
    assert (widths.min(axis=0) <= 2).all()
    assert (widths.max(axis=0) >= 31).all()
    usage = budget.usage(widths)
    assert np.histogram(usage, bins=4, range=(0.8, 1))[0].min() > 200


@pytest.mark.parametrize('count', [-1, 1.5, True])
def test_a_bad_count(count):
    chain = Chain((1, 2))
    with pytest.raises(ValueError, match=f'count={count}: allowed is an integer of 0 or more'):
        sample_within(chain, Budget.parse('100%', chain), count, np.random.default_rng(0))


@pytest.mark.parametrize('floor', [-0.1, 1.1, float('nan')])
def test_a_bad_floor(floor):
    chain = Chain((1, 2))
    with pytest.raises(ValueError, match=f'floor={floor}: allowed is a share of the budget'):
        sample_within(chain, Budget.parse('100%', chain), 1, np.random.default_rng(0), floor)


def test_a_budget_of_another_domain():
    with pytest.raises(ValueError, match=r'budget=.* parse it for this domain'):
        sample_within(Chain((1, 3)), Budget.parse('100%', Chain((1, 2))), 1, np.random.default_rng(0))


@settings(deadline=None, max_examples=60)
@given(chain=chains, share=st.floats(0, 1), floor=st.floats(0, 1), seed=st.integers(0, 9))
def test_widths_are_brought_within_the_budget(chain, share, floor, seed):
    space = LevelSpace(chain, some_budget(chain, share))
    levels = np.array(list(itertools.product(*map(range, space.counts))))
    before = space.usage(levels)
    moved = move_within(space, levels, floor, np.random.default_rng(seed))
    usage = space.usage(moved)
    assert (usage <= 1).all()
    fine = (before >= floor) & (before <= 1)
    np.testing.assert_array_equal(moved[fine], levels[fine])
    assert (moved[before < floor] >= levels[before < floor]).all()
    for row in moved[usage < floor]:  # stuck: no group can grow by a level
        bigger = row + np.eye(len(row), dtype=np.int64)
        bigger = bigger[(bigger < space.counts).all(axis=1)]
        assert (space.usage(bigger) > 1).all()


def test_repair_changes_little():
    space = LevelSpace(chain := Chain(*[tuple(range(1, 33))] * 20), Budget.parse('25%', chain))
    levels = np.full((200, 20), 16)  # widths of 17: just above
    assert (space.usage(levels) > 1).all()
    moved = move_within(space, levels, 0.8, np.random.default_rng(0))
    assert space.usage(moved).min() > 0.98
    assert (moved == levels).mean() > 0.5


@settings(deadline=None, max_examples=40)
@given(chain=chains, share=st.floats(0, 1), most=st.integers(0, 600))
def test_enumeration_finds_each_once(chain, share, most):
    budget = some_budget(chain, share)
    space = LevelSpace(chain, budget)
    found = space.widths(enumerate_within(space, most))
    allowed = rows(chain.all()[budget.allows(chain.all())])
    assert len(rows(found)) == len(found)
    assert rows(found) <= allowed
    assert rows(found) == allowed or len(found) > most


def test_levels_and_widths():
    space = LevelSpace(chain := Chain((8, 16), (3, 5, 9)), Budget.parse('100%', chain))
    levels = space.from_dicts([{'layer1': 9, 'layer0': 8}, {'layer0': 16, 'layer1': 3}], 'widths')
    assert levels.tolist() == [[0, 2], [1, 0]]
    assert space.widths(levels).tolist() == [[8, 9], [16, 3]]
    dicts = space.as_dicts(levels)
    assert dicts == [{'layer0': 8, 'layer1': 9}, {'layer0': 16, 'layer1': 3}]
    assert all(type(width) is int for row in dicts for width in row.values())
    assert space.from_dicts([], 'widths').shape == (0, 2)


@pytest.mark.parametrize(
    ('widths', 'said'),
    [
        ({'layer0': 8}, r"initial: missing or unknown labels \['layer1'\]; give one width for every group"),
        ({'layer0': 8, 'layer1': 3, 'x': 1}, r"unknown labels \['x'\]"),
        ({'layer0': 9, 'layer1': 3}, r"initial: 'layer0' has width 9; allowed are \[8, 16\]"),
    ],
)
def test_widths_that_are_not_of_the_space(widths, said):
    space = LevelSpace(chain := Chain((8, 16), (3, 5, 9)), Budget.parse('100%', chain))
    with pytest.raises(ValueError, match=said):
        space.from_dicts([widths], 'initial')


def test_mark_new():
    seen: set[bytes] = set()
    levels = np.array([[0, 1], [0, 1], [2, 2], [3, 3]])
    assert new_rows(levels, seen, most=2).tolist() == [True, False, True, False]
    assert new_rows(levels, seen).tolist() == [False, False, False, True]
    assert len(seen) == 3
