from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from nni_cafenet.latency.interpolation import Axis, Monomial, Sum, Term, monotone, spread


def line(points, times, weights=None):
    return Term((Axis.of(weights or {'a': 1}),), (np.array(points),), np.array(times))


@pytest.mark.parametrize(
    ('times', 'expected'),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([1, 5, 3], [1, 4, 4]),  # above [1, 5, 5], below [1, 3, 3]
        ([9, 5, 1], [5, 5, 5]),
        ([[1, 4], [3, 2]], [[1, 3], [2, 3]]),  # above [[1, 4], [3, 4]], below [[1, 2], [2, 2]]; 2.5 is cut off
        (7, 7),
    ],
)
def test_monotone_by_hand(times, expected):
    assert monotone(np.array(times)).tolist() == expected


GRIDS = arrays.arrays(np.int64, arrays.array_shapes(min_dims=1, max_dims=3, max_side=6), elements=st.integers(0, 10**9))


@given(GRIDS)
def test_a_monotone_table_falls_nowhere_and_stays_between_its_bounds(times):
    result = monotone(times)
    assert all((np.diff(result, axis=axis) >= 0).all() for axis in range(times.ndim))
    assert times.min() <= result.min()
    assert result.max() <= times.max()
    assert (monotone(result) == result).all()


def test_spread():
    assert spread(10, 50, 5).tolist() == [10, 20, 30, 40, 50]
    assert spread(3, 5, 9).tolist() == [3, 4, 5]
    assert spread(4, 4, 5).tolist() == [4]
    assert spread(2, 32, 4, [2, 8, 16, 24, 32]).tolist() == [2, 8, 24, 32]  # near 2, 12, 22, 32: of equals the first
    assert spread(2, 8, 5, [2, 8]).tolist() == [2, 8]


def test_interpolation_on_a_line():
    term = line([4, 8, 16], [100, 200, 1000])
    widths = {'a': np.array([1, 4, 5, 8, 12, 15, 16, 99])}
    assert term.at(widths).tolist() == [100, 100, 125, 200, 600, 900, 1000, 1000]


def test_interpolation_along_a_sum_of_widths():
    term = line([10, 20], [0, 100], {'a': 1, 'b': 4})
    assert term.at({'a': np.array([2, 3, 1]), 'b': np.array([2, 3, 5])}).tolist() == [0, 50, 100]


def test_interpolation_on_a_grid_is_exact_for_products():
    a, b = np.array([2, 6, 10]), np.array([1, 9])
    term = Term((Axis.of({'a': 1}), Axis.of({'b': 1})), (a, b), 7 * a[:, None] * b)
    x, y = (each.ravel() for each in np.meshgrid(np.arange(2, 11), np.arange(1, 10)))
    exact = 7 * x * y
    assert np.abs(term.at({'a': x, 'b': y}) - exact).max() <= 1  # cut off to whole ns


def test_elements_of_tensors():
    # A tensor of 2 x a x b, and one of 5 + a.
    axis = Axis((Monomial((Sum({}, 2), Sum({'a': 1}), Sum({'b': 1}))), Monomial((Sum({'a': 1}, 5),))))
    assert axis.at({'a': np.array([3, 4]), 'b': np.array([7, 1])}).tolist() == [2 * 21 + 8, 2 * 4 + 9]
    assert Axis.from_json(json.loads(json.dumps(axis.to_json()))) == axis


@st.composite
def tables(draw):
    points = [np.array(sorted(draw(st.sets(st.integers(1, 200), min_size=2, max_size=5)))) for _ in range(2)]
    shape = tuple(map(len, points))
    times = draw(arrays.arrays(np.int64, shape, elements=st.integers(0, 10**10)))
    return Term((Axis.of({'a': 1}), Axis.of({'b': 1, 'a': 2})), tuple(points), monotone(times))


@settings(max_examples=40)
@given(tables(), st.lists(st.tuples(*[st.integers(0, 250)] * 4), min_size=1, max_size=30))
def test_times_never_fall_when_a_width_grows(term, rows):
    a, b, more_a, more_b = np.array(rows).T
    before = term.at({'a': a, 'b': b})
    after = term.at({'a': a + more_a, 'b': b + more_b})
    assert (after >= before).all()


@settings(max_examples=40)
@given(tables())
def test_times_at_the_points_are_those_of_the_table(term):
    first, second = term.points
    flat = Term((Axis.of({'a': 1}), Axis.of({'b': 1})), term.points, term.times)
    x, y = np.meshgrid(first, second, indexing='ij')
    assert (flat.at({'a': x.ravel(), 'b': y.ravel()}) == term.times.ravel()).all()
    assert Term.from_json(json.loads(json.dumps(term.to_json()))).to_json() == term.to_json()
