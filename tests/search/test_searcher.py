from __future__ import annotations

import json
import math

import numpy as np
import pytest
from helpers.searching import Chain, run
from hypothesis import given, settings, strategies as st

from nni_cafenet.search.budget import Budget
from nni_cafenet.search.searcher import RandomSearch, Searcher, read_fitness
from nni_cafenet.utils.validation import check_number, check_whole_number

CHAIN = Chain(*[tuple(range(2, 18, 2))] * 6)


def macs(domain, widths):
    return domain.macs(np.array([list(widths.values())]))[0]


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 60), batch=st.integers(1, 25), percent=st.integers(10, 100), seed=st.integers(0, 9))
def test_random_search_proposes_each_once_within_the_budget(n, batch, percent, seed):
    history = run(RandomSearch(n, batch=batch), CHAIN, f'{percent}%', seed, lambda widths: math.nan)
    proposed = [widths for widths_, _ in history for widths in widths_]
    assert len(proposed) == RandomSearch(n).total == n
    assert [len(widths) for widths, _ in history[:-1]] == [batch] * (len(history) - 1)
    assert len({tuple(widths.items()) for widths in proposed}) == n
    limit = Budget.parse(f'{percent}%', CHAIN).limits['macs']
    for widths in proposed:
        assert list(widths) == list(CHAIN.choices)
        assert all(type(width) is int for width in widths.values())
        assert 0.8 * limit <= macs(CHAIN, widths) <= limit
    json.dumps(proposed)


def test_the_size_of_a_batch_and_the_scores_change_nothing():
    def proposed(batch, score):
        history = run(RandomSearch(50, batch=batch), CHAIN, '40%', 3, score)
        return [widths for widths_, _ in history for widths in widths_]

    assert proposed(7, lambda widths: 0.0) == proposed(50, lambda widths: macs(CHAIN, widths))


def test_a_tiny_space_ends_early():
    domain = Chain((1, 2), (1, 4))  # MACs 36, 63, 72, 126
    ((batch, _),) = run(RandomSearch(1000, floor=1), domain, 80, 0, lambda widths: 0.0)
    assert sorted(tuple(widths.values()) for widths in batch) == [(1, 1), (1, 4), (2, 1)]


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'n': 0}, 'n=0 must be a whole number, 1 or more'),
        ({'n': 2.0}, 'n=2.0 must be a whole number'),
        ({'n': True}, 'n=True must be a whole number'),
        ({'batch': 0}, 'batch=0 must be a whole number, 1 or more'),
        ({'floor': 1.5}, 'floor=1.5 must be a number from 0 to 1'),
        ({'floor': '0.8'}, "floor='0.8' must be a number"),
        ({'floor': math.nan}, 'floor=nan must be a number'),
    ],
)
def test_bad_options(options, said):
    with pytest.raises(ValueError, match=said):
        RandomSearch(**options)


@pytest.mark.parametrize('sent', [[], [1.0], [1.0] * 4, None])
def test_another_number_of_scores(sent):
    proposals = RandomSearch(6, batch=3).propose(CHAIN, Budget.parse('50%', CHAIN), np.random.default_rng(0))
    next(proposals)
    with pytest.raises(ValueError, match='3 widths were proposed; send a list of one for each'):
        proposals.send(sent)


def test_text_equality_and_serialization():
    searcher = RandomSearch(7, floor=0.5)
    assert repr(searcher) == 'RandomSearch(n=7, floor=0.5, batch=50)'
    assert eval(repr(searcher)) == searcher
    assert RandomSearch(**json.loads(json.dumps(searcher.to_dict()))) == searcher
    assert searcher != RandomSearch(8, floor=0.5)
    assert searcher != 'RandomSearch(n=7, floor=0.5, batch=50)'


def test_a_searcher_of_ones_own():
    class Smallest(Searcher):
        def __init__(self, note='x'):
            self.note = note

        @property
        def total(self):
            return 1

        def propose(self, domain, budget, rng):
            yield [{label: allowed[0] for label, allowed in domain.choices.items()}]

    assert repr(Smallest()) == "Smallest(note='x')"
    assert Smallest('y') == Smallest('y') != Smallest()
    assert len(run(Smallest(), CHAIN, '50%', 0, lambda widths: 1.0)) == Smallest().total
    with pytest.raises(TypeError, match='abstract'):
        Searcher()


def test_read_fitness():
    assert read_fitness([1, math.nan, -math.inf, math.inf], 4).tolist() == [1, -math.inf, -math.inf, math.inf]


def test_checks_return_plain_numbers():
    assert type(check_whole_number('n', np.int32(3), 1)) is int
    assert type(check_number('x', np.float32(0.5), 0, 1)) is float
    assert check_number('x', 10**6, 0) == 1e6
    with pytest.raises(ValueError, match='x=inf must be a finite number, 0 or more'):
        check_number('x', math.inf, 0)
