from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nni_cafenet.latency.calibration import Calibration, fit, others_than, prediction_error, random_widths

SUMS = [1_000_000, 2_000_000, 5_000_000, 9_000_000]


def test_a_scale_and_an_offset_are_found():
    found = fit(SUMS, [round(1.5 * each) + 300_000 for each in SUMS])
    assert found.scale == pytest.approx(1.5 * 65536, abs=1)
    assert found.offset == pytest.approx(300_000, abs=20)
    assert found(np.array(SUMS)) == pytest.approx([1_800_000, 3_300_000, 7_800_000, 13_800_000], abs=200)


def test_neither_is_below_zero():
    assert fit(SUMS, [2 * each - 900_000 for each in SUMS]).offset == 0
    falling = fit(SUMS, [9_000_000, 5_000_000, 2_000_000, 1_000_000])
    assert falling.scale == 0
    assert falling.offset > 0


def test_networks_that_are_all_alike():
    found = fit([1000, 1000], [3000, 3000])
    assert found(np.array([1000])).tolist() == pytest.approx([3000], abs=2)


@given(
    scale=st.integers(0, 1 << 20),
    offset=st.integers(0, 10**9),
    sums=st.lists(st.integers(0, 10**12), min_size=2, max_size=9),
)
def test_the_order_is_kept(scale, offset, sums):
    ordered = np.sort(np.array(sums))
    predicted = Calibration(scale, offset)(ordered)
    assert (np.diff(predicted) >= 0).all()
    exact = [each * scale // 65536 + offset for each in ordered.tolist()]  # in Python's integers
    assert predicted.tolist() == exact


def test_the_error_by_hand():
    error = prediction_error([110, 190, 300, 500], [100, 200, 300, 400])
    assert error.median == pytest.approx(0.075)  # of 0.1, 0.05, 0, 0.25
    assert error.worst == pytest.approx(0.25)
    assert error.rank_correlation == pytest.approx(1)
    assert str(error) == 'median 7.5 %, worst 25.0 %, rank correlation 1.000 (4 random widths)'
    assert prediction_error([1, 2, 3], [3, 2, 1]).rank_correlation == pytest.approx(-1)
    assert prediction_error([5, 5], [3, 4]).rank_correlation == 0


@given(number=st.integers(1, 12), seed=st.integers(0, 99))
def test_random_widths_are_allowed_and_of_all_sizes(number, seed):
    choices = {'a': (2, 4, 8), 'b': (1,), 'c': tuple(range(1, 101))}
    rows = random_widths(choices, number, np.random.default_rng(seed))
    assert rows.shape == (number, 3)
    assert all(set(column) <= set(allowed) for column, allowed in zip(rows.T.tolist(), choices.values()))
    if number >= 4:
        assert rows[0, 2] < rows[-1, 2]
    assert random_widths(choices, 0, np.random.default_rng(seed)).shape == (0, 3)


def test_held_out_widths_are_others_where_there_are_any():
    choices = {'a': (1, 2, 3), 'b': (1, 2)}
    rng = np.random.default_rng(0)
    known = np.array([[a, b] for a in (1, 2, 3) for b in (1, 2) if (a, b) not in ((1, 2), (2, 2))])
    assert set(map(tuple, others_than(known, choices, 4, rng).tolist())) <= {(1, 2), (2, 2)}
    everything = np.array([[a, b] for a in (1, 2, 3) for b in (1, 2)])
    assert others_than(everything, choices, 4, rng).shape == (4, 2)
