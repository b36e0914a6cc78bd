from __future__ import annotations

import math
import pickle

import pytest

from nni_cafenet import Halving
from nni_cafenet.options.halving import halve


def test_what_it_costs():
    # 24, then half of them (12), then half of those (6): 24 * 2 + 12 * 4 + 6 * 8 = 144
    assert Halving((2, 4, 8)).sizes(24) == [24, 12, 6]
    assert Halving((2, 4, 8)).describe(24) == '24 trainings of 2 epochs, 12 of 4, 6 of 8: 144 epochs in all'
    assert Halving(1).describe(3) == '3 trainings of 1 epoch: 3 epochs in all'
    assert Halving((1, 2), keep=1 / 3).sizes(9) == [9, 3]
    assert Halving((1, 2, 3), keep=0.1).sizes(5) == [5, 1, 1]


def test_the_better_ones_reach_the_next_rung():
    asked = []

    def train(networks, epochs):
        asked.append((list(networks), epochs))
        return [(each, each % 10) for each in networks]  # 9 is best

    assert halve([0, 9, 11, 5, 7, 3], Halving((1, 3, 9)), train) == [9, 7]
    assert asked == [([0, 9, 11, 5, 7, 3], 1), ([9, 7, 5], 3), ([9, 7], 9)]


def test_of_equal_networks_the_first_is_better():
    assert halve('abc', Halving((1, 2)), lambda networks, epochs: [(each, 0.0) for each in networks]) == ['a', 'b']


def test_networks_that_failed_are_left_out():
    def train(networks, epochs):
        return [(each, math.nan if each == 'b' else -math.inf) for each in networks if each != 'c']

    assert halve('abcd', Halving((1, 2)), train) == ['a', 'd']
    assert halve('bc', Halving((1, 2)), train) == []


@pytest.mark.parametrize('epochs', [(), (4, 2), (2, 2), (0, 1), (1.0, 2), 'abc', None, True, (True, 2), 0])
def test_epochs_that_are_refused(epochs):
    with pytest.raises(ValueError, match=r'epochs=.* must be ascending whole numbers of 1 or more'):
        Halving(epochs)
    with pytest.raises(ValueError, match='finalist_halving: epochs='):
        Halving.of('finalist_halving', epochs)


@pytest.mark.parametrize('keep', [0, 1, 1.5, -0.5, '0.5', True, None, math.nan])
def test_shares_that_are_refused(keep):
    with pytest.raises(ValueError, match='keep='):
        Halving((1, 2), keep)


def test_it_is_a_value():
    assert Halving([1, 2]) == Halving((1, 2)) == Halving.of('x', [1, 2]) == pickle.loads(pickle.dumps(Halving((1, 2))))
    assert Halving.of('x', Halving(3)) == Halving((3,))
