from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import kendalltau

from nni_cafenet.search.headroom import headroom_of, kendall_tau
from nni_cafenet.search.history import Scored


def scored(width, score, parts=(), by_temperature=None):
    return Scored(
        {'a': width}, 100, 10, score, {}, temperature=2.0, by_temperature=by_temperature or {}, parts=tuple(parts)
    )


def made(uniform, others, **options):
    given = {'best': None, 'higher_is_better': False, 'score': 'loss', **options}
    return headroom_of(scored(0, uniform), [scored(1 + i, each) for i, each in enumerate(others)], **given)


LOSSES = [0.1 * each for each in range(1, 21)]  # 0.1 to 2.0


def test_the_share_that_the_uniform_network_is_better_than():
    found = made(0.15, LOSSES)
    assert (found.number, found.better) == (20, 0.95)
    assert found.gain == pytest.approx(0.05)
    assert found.spread == pytest.approx(np.std(LOSSES, ddof=1))
    assert found.noise is None
    first = found.sentences()[0]
    ranked = 'By this supernet, the uniform network is better than 95 % of 20 random widths of its cost: '
    assert first == f'{ranked}little can be gained.'
    assert 'much can be gained' in made(1.95, LOSSES).sentences()[0]
    assert 'some gain is possible' in made(0.75, LOSSES, drawn=False).sentences()[0]
    assert 'widths that were searched' in made(0.75, LOSSES, drawn=False).sentences()[0]
    assert made(0.75, LOSSES, budget='50%').sentences()[0].startswith('Under 50%, by this supernet, the uniform')


def test_higher_may_be_better():
    found = made(0.15, LOSSES, higher_is_better=True, score='val_acc')
    assert found.better == 0.05
    assert found.gain == pytest.approx(1.85)


def test_a_search_that_finds_nothing_better_says_so():
    found = made(0.05, LOSSES)
    assert found.gain < 0
    assert 'No width scored better than the uniform network.' in found.sentences()
    best = scored(50, 0.01)
    assert made(0.05, LOSSES, best=best).gain == pytest.approx(0.04)


def test_nothing_is_said_of_few_widths_or_without_scores():
    assert made(0.15, LOSSES[:9]) is None
    assert made(0.15, [math.nan] * 20) is None
    assert made(math.nan, LOSSES) is None
    assert made(0.15, [*LOSSES, math.nan]).number == 20


def test_the_noise_is_that_of_a_difference_of_means_over_parts():
    rng = np.random.default_rng(0)
    quality, difficulty = rng.normal(size=(400, 1)), 5 * rng.normal(size=(1, 8))
    table = quality + difficulty + 0.5 * rng.normal(size=(400, 8))
    records = [scored(i, float(row.mean()), row) for i, row in enumerate(table)]
    found = headroom_of(records[0], records[1:], best=None, higher_is_better=False, score='loss')
    assert found.noise == pytest.approx(0.5 * math.sqrt(2 / 8), rel=0.05)
    assert found.spread / found.noise == pytest.approx(4, rel=0.15)
    assert any('times the noise of a difference.' in each for each in found.sentences())
    flat = [scored(i, 0.001 * i, [0.001 * i + each for each in rng.normal(size=4)]) for i in range(30)]
    found = headroom_of(flat[3], flat, best=None, higher_is_better=False, score='loss')
    assert any('can hardly tell these widths apart' in each for each in found.sentences())
    assert any('within the noise' in each for each in found.sentences())


def test_disagreeing_temperatures_are_a_warning():
    def records(other):
        return [
            scored(i, float(i), by_temperature={1.0: float(other[i]), 2.0: float(i), 3.0: float(i)}) for i in range(20)
        ]

    agreeing, shuffled = records(range(20)), records(np.random.default_rng(0).permutation(20))
    options = {'best': None, 'higher_is_better': False, 'score': 'loss'}
    found = headroom_of(agreeing[0], agreeing, **options)
    assert found.agreement == pytest.approx({'1 and 2': 1, '1 and 3': 1, '2 and 3': 1})
    assert not found.warns
    found = headroom_of(shuffled[0], shuffled, **options)
    assert found.warns
    assert found.agreement['2 and 3'] == pytest.approx(1)
    assert found.sentences()[-1].startswith('Warning: temperatures order these widths differently')


def test_kendalls_tau_with_ties():
    for one, other in itertools.product([[1, 2, 2, 3, 5], [5, 1, 2, 2, 2], [0.1, 0.2, 0.3, 0.4, 0.5]], repeat=2):
        assert kendall_tau(one, other) == pytest.approx(kendalltau(one, other).statistic)
    assert math.isnan(kendall_tau([1, 1], [1, 2]))
