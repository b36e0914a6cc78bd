from __future__ import annotations

import json
import math

import numpy as np
import pytest
from helpers.searching import Chain, run
from hypothesis import given, settings, strategies as st

from nni_cafenet.search.budget import Budget
from nni_cafenet.search.evolution import (
    Evolution,
    binary_tournament,
    polynomial_mutation,
    survivors,
    two_point_crossover,
)
from nni_cafenet.search.sampling import LevelSpace
from nni_cafenet.search.searcher import RandomSearch

CHAIN = Chain(*[tuple(range(2, 34, 2))] * 12)


def worth(domain, seed):
    """A separable objective: some layers are worth more channels than others."""
    weights = np.random.default_rng(seed).exponential(size=len(domain.choices))
    return lambda widths: float(weights @ np.log(list(widths.values())))


def proposed(history):
    return [tuple(widths.values()) for batch, _ in history for widths in batch]


def best(history):
    return max(score for _, scores in history for score in scores)


@settings(deadline=None, max_examples=20)
@given(
    population=st.integers(2, 9),
    generations=st.integers(1, 6),
    percent=st.integers(5, 100),
    floor=st.floats(0, 0.9),
    seed=st.integers(0, 9),
)
def test_each_once_and_never_above_the_budget(population, generations, percent, floor, seed):
    searcher = Evolution(population, generations, floor=floor)
    history = run(searcher, CHAIN, f'{percent}%', seed, worth(CHAIN, seed))
    assert [len(batch) for batch, _ in history] == [population] * generations
    assert searcher.total == population * generations
    everything = proposed(history)
    assert len(set(everything)) == len(everything)
    limit = Budget.parse(f'{percent}%', CHAIN).limits['macs']
    macs = CHAIN.macs(np.array(everything))
    assert macs.max() <= limit
    assert macs.min() >= floor * limit
    assert all(type(width) is int for widths in everything for width in widths)


def test_the_same_generator_and_scores_give_the_same_search():
    searcher, score = Evolution(8, 6), worth(CHAIN, 0)
    history = run(searcher, CHAIN, '50%', 1, score)
    assert run(searcher, CHAIN, '50%', 1, score) == history
    assert proposed(run(searcher, CHAIN, '50%', 2, score)) != proposed(history)
    assert proposed(run(searcher, CHAIN, '50%', 1, lambda widths: -score(widths))) != proposed(history)


def test_a_search_resumes_from_recorded_scores():
    searcher = Evolution(6, 8)
    history = run(searcher, CHAIN, '50%', 1, worth(CHAIN, 0))
    again = searcher.propose(CHAIN, Budget.parse('50%', CHAIN), np.random.default_rng(1))
    batch = next(again)
    for (recorded, scores), (following, _) in zip(history, history[1:]):
        assert batch == recorded
        batch = again.send(scores)
        assert batch == following


@pytest.mark.parametrize('seed', range(3))
def test_evolution_beats_ten_times_as_many_random_ones(seed):
    score = worth(CHAIN, seed)
    evolved = best(run(Evolution(30, 20), CHAIN, '30%', seed, score))
    assert evolved > best(run(RandomSearch(6000), CHAIN, '30%', seed, score))
    # And it has most of what a search 37 times as long finds.
    random, long = run(RandomSearch(600), CHAIN, '30%', seed, score), Evolution(150, 150)
    found = best(run(long, CHAIN, '30%', seed, score))
    assert found - evolved < 0.5 * (found - best(random))


def test_failed_widths_are_the_worst():
    def score(widths):
        return math.nan if widths['layer0'] > 6 else 1.0

    history = run(Evolution(20, 12), CHAIN, '50%', 0, score)
    failed = [sum(map(math.isnan, scores)) for _, scores in history]
    assert failed[0] >= 8
    assert failed[-1] < failed[0] / 2


def test_a_tiny_space_ends_early():
    domain = Chain((1, 2), (1, 4), (3,))
    # MACs 27 a + 9 a b + 27 b: (1, 1) 63, (1, 4) 171, (2, 1) 99, (2, 4) 234.
    history = run(Evolution(2, 1000), domain, 200, 0, lambda widths: 0.0)
    assert sorted(proposed(history)) == [(1, 1, 3), (1, 4, 3), (2, 1, 3)]
    assert len(run(Evolution(4, 1000), domain, 200, 0, lambda widths: 0.0)) == 1
    assert proposed(run(Evolution(4, 9), Chain((5,)), '100%', 0, lambda widths: 0.0)) == [(5,)]


def test_a_search_ends_when_everything_was_proposed():
    domain = Chain((1, 2, 3), (1, 2, 3, 4), (1, 2, 3))
    history = run(Evolution(8, 100), domain, '100%', 0, worth(domain, 0))
    assert len(set(proposed(history))) == len(proposed(history)) == 36


def test_initial_widths_come_first_and_are_repaired():
    small = dict.fromkeys(CHAIN.choices, 22)  # 27 * 22 + 11 * 9 * 22**2 = 48,510 of 102,240 MACs
    full = dict.fromkeys(CHAIN.choices, 32)
    searcher = Evolution(5, 1, initial=[small, full, small])
    ((batch, _),) = run(searcher, CHAIN, 50_000, 0, lambda widths: 0.0)
    assert batch[0] == small
    assert batch[1] != full
    macs = CHAIN.macs(np.array([list(widths.values()) for widths in batch]))
    assert macs.max() <= 50_000
    assert macs[1] > 49_000
    assert len(set(proposed([(batch, [])]))) == 5


def test_a_search_may_start_from_uniform_networks():
    space = LevelSpace(CHAIN, Budget.parse('100%', CHAIN))
    for ratio in (0.9, 0.25):
        wanted = [
            min(allowed, key=lambda width: abs(width - ratio * allowed[-1])) for allowed in CHAIN.choices.values()
        ]
        assert space.widths(space.uniform(ratio)[None])[0].tolist() == wanted
    first = next(Evolution(12, 1, initial='uniform', floor=0).propose(CHAIN, space.budget, np.random.default_rng(0)))
    wanted = [space.as_dicts(space.uniform(ratio)[None])[0] for ratio in (0.9, 0.7, 0.5, 0.35, 0.25)]
    assert all(widths in first for widths in wanted)


def test_initial_widths_of_another_space():
    searcher = Evolution(5, 1, initial=[dict.fromkeys(CHAIN.choices, 3)])
    with pytest.raises(ValueError, match="initial: 'layer0' has width 3; allowed are"):
        run(searcher, CHAIN, '50%', 0, lambda widths: 0.0)


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'population': 1}, 'population=1 must be a whole number, 2 or more'),
        ({'generations': 0}, 'generations=0 must be a whole number, 1 or more'),
        ({'crossover_probability': 1.1}, 'crossover_probability=1.1 must be a number from 0 to 1'),
        ({'mutation_probability': -0.1}, 'mutation_probability=-0.1 must be a number from 0 to 1'),
        ({'eta': -1}, 'eta=-1 must be a finite number, 0 or more'),
        ({'eta': math.inf}, 'eta=inf must be a finite number'),
        ({'floor': 2}, 'floor=2 must be a number from 0 to 1'),
        ({'initial': 'same'}, "initial='same': allowed are widths .*, or 'uniform'"),
        ({'population': 2, 'initial': [{}] * 3}, 'initial has 3 widths: .* population=2; give fewer'),
    ],
)
def test_bad_options(options, said):
    with pytest.raises(ValueError, match=said):
        Evolution(**options)


def test_options_after_the_sizes_are_keywords():
    with pytest.raises(TypeError):
        Evolution(40, 20, None)


def test_text_equality_and_serialization():
    searcher = Evolution(4, 3, initial=[{'a': 8}], eta=5)
    assert repr(searcher) == (
        "Evolution(population=4, generations=3, initial=[{'a': 8}], crossover_probability=0.9, "
        'mutation_probability=None, eta=5.0, floor=0.8)'
    )
    assert eval(repr(searcher)) == searcher
    assert Evolution(**json.loads(json.dumps(searcher.to_dict()))) == searcher
    searcher.to_dict()['initial'].clear()
    assert searcher.initial == [{'a': 8}]
    assert searcher != Evolution(4, 3, eta=5)


def test_tournament_prefers_the_fitter():
    fitness = np.array([0.0, 3.0, 1.0, -np.inf])
    winners = binary_tournament(fitness, 4000, np.random.default_rng(0))
    counts = np.bincount(winners, minlength=4) / 4000
    # The fittest of four wins unless it is drawn neither time: 1 - (3/4)^2 = 7/16; the next 5/16, 3/16, 1/16.
    np.testing.assert_allclose(counts, [3 / 16, 7 / 16, 5 / 16, 1 / 16], atol=0.03)
    assert binary_tournament(np.array([1.0]), 3, np.random.default_rng(0)).tolist() == [0, 0, 0]


@settings(deadline=None, max_examples=30)
@given(pairs=st.integers(0, 20), groups=st.integers(2, 9), seed=st.integers(0, 9))
def test_crossover_exchanges_what_lies_between_two_cuts(pairs, groups, seed):
    first, second = np.zeros((pairs, groups), np.int64), np.ones((pairs, groups), np.int64)
    children = two_point_crossover(first, second, 1.0, np.random.default_rng(seed))
    assert children.shape == (2 * pairs, groups)
    np.testing.assert_array_equal(children[:pairs] + children[pairs:], 1)  # nothing is lost
    changes = (children != np.roll(children, 1, axis=1)).sum(axis=1)
    assert (changes == 2).all()  # around the ring of groups: two cuts, something of both parents


def test_crossover_leaves_pairs_alone_with_the_rest_of_the_probability():
    first, second = np.zeros((2000, 5), np.int64), np.ones((2000, 5), np.int64)
    children = two_point_crossover(first, second, 0.25, np.random.default_rng(0))[:2000]
    assert abs(children.any(axis=1).mean() - 0.25) < 0.04
    np.testing.assert_array_equal(two_point_crossover(first, second, 0.0, np.random.default_rng(0))[:2000], first)


@settings(deadline=None, max_examples=40)
@given(
    counts=st.lists(st.integers(1, 64), min_size=1, max_size=6),
    eta=st.floats(0, 50),
    probability=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_mutation_stays_in_bounds(counts, eta, probability, seed):
    rng, counts = np.random.default_rng(seed), np.array(counts)
    levels = rng.integers(0, counts, size=(50, len(counts)))
    mutated = polynomial_mutation(levels, counts, probability, eta, rng)
    assert mutated.dtype == np.int64
    assert (mutated >= 0).all()
    assert (mutated < counts).all()


def test_mutation_reaches_every_level_and_prefers_near_ones():
    levels, counts = np.full((20_000, 1), 3), np.array([8])
    share = np.bincount(polynomial_mutation(levels, counts, 1.0, 3.0, np.random.default_rng(0))[:, 0], minlength=8)
    assert (share > 0).all()
    assert share[0] < share[1] < share[2] < share[3]
    assert share[3] > share[4] > share[5] > share[6] > share[7]
    wide = polynomial_mutation(levels, counts, 1.0, 0.0, np.random.default_rng(0))
    narrow = polynomial_mutation(levels, counts, 1.0, 30.0, np.random.default_rng(0))
    assert wide.std() > levels.std() + narrow.std()


def test_mutation_touches_as_many_as_it_should():
    levels, counts = np.zeros((4000, 10), np.int64), np.full(10, 64)
    untouched = polynomial_mutation(levels, counts, 0.0, 3.0, np.random.default_rng(0))
    np.testing.assert_array_equal(untouched, levels)
    # From the lowest of 64 levels, nearly every draw above one half leads to another one.
    changed = polynomial_mutation(levels, counts, 0.1, 0.0, np.random.default_rng(0)) != levels
    assert abs(changed.mean() - 0.05) < 0.01


def test_survivors_are_the_fittest_and_of_equals_the_earlier():
    fitness = np.array([1.0, 5.0, -np.inf, 5.0, 2.0])
    assert survivors(fitness, 3).tolist() == [1, 3, 4]
    assert survivors(fitness, 9).tolist() == [1, 3, 4, 0, 2]
