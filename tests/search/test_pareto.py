"""The Pareto front of cost and fitness."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nni_cafenet.search.pareto import pareto_front

NUMBER = st.one_of(st.integers(-3, 3).map(float), st.sampled_from([math.inf, -math.inf, math.nan]))
POINTS = st.lists(st.tuples(NUMBER, NUMBER), max_size=12)


def front(points) -> list[bool]:
    return pareto_front([cost for cost, _ in points], [fitness for _, fitness in points]).tolist()


def dominates(one, other) -> bool:
    no_worse = one[0] <= other[0] and one[1] >= other[1]
    return no_worse and (one[0] < other[0] or one[1] > other[1])


def test_by_hand():
    points = [(1, 2), (3, 4), (2, 5), (4, 6), (4, 6), (9, 6)]
    assert front(points) == [True, False, True, True, True, False]


@given(POINTS)
def test_it_is_what_the_definition_says(points):
    finite = [point for point in points if not any(map(math.isnan, point))]
    expected = [point in finite and not any(dominates(other, point) for other in finite) for point in points]
    assert front(points) == expected


@given(POINTS, st.randoms(use_true_random=False))
def test_the_order_of_points_does_not_matter(points, random):
    order = list(range(len(points)))
    random.shuffle(order)
    shuffled = front([points[index] for index in order])
    assert [shuffled[order.index(index)] for index in range(len(points))] == front(points)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30))
def test_along_the_front_more_cost_buys_more_fitness(points):
    kept = sorted({point for point, on_it in zip(points, front(points)) if on_it})
    assert kept
    assert all(one[0] < two[0] and one[1] < two[1] for one, two in zip(kept, kept[1:]))


def test_many_points_at_once():
    rng = np.random.default_rng(0)
    cost, fitness = rng.random(200_000), rng.random(200_000)
    found = pareto_front(cost, fitness)
    assert found[np.argmax(fitness)]
    assert found[np.argmin(cost)]
    assert 2 <= found.sum() < 100


@pytest.mark.parametrize(('cost', 'fitness'), [([1], [1, 2]), ([[1]], [[1]]), (1, 1)])
def test_shapes_that_do_not_fit(cost, fitness):
    with pytest.raises(ValueError, match='one-dimensional and of one length'):
        pareto_front(cost, fitness)
