from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_cafenet.units import format_count, parse_count


@pytest.mark.parametrize(
    ('count', 'text'),
    [
        (0, '0'),
        (7, '7'),
        (999, '999'),
        (999.7, '1.00K'),
        (1000, '1.00K'),
        (9_994, '9.99K'),
        (9_996, '10.0K'),
        (25_557_032, '25.6M'),
        (99_960_000, '100M'),
        (300_000_000, '300M'),
        (999_499_999, '999M'),
        (999_500_000, '1.00G'),
        (1_814_073_344, '1.81G'),
        (4_089_184_256, '4.09G'),
        (10**18, '1000P'),
        (-1_500_000, '-1.50M'),
        (0.25, '0.25'),
        (float('nan'), 'nan'),
        (float('-inf'), '-inf'),
        (np.int64(1_814_073_344), '1.81G'),
    ],
)
def test_format_count(count: float, text: str) -> None:
    assert format_count(count) == text


@pytest.mark.parametrize(
    ('text', 'count'),
    [
        ('300M', 300_000_000),
        ('300m', 300_000_000),
        (' 0.3 G ', 300_000_000),
        ('1.1G', 1_100_000_000),
        ('1B', 10**9),
        ('.5k', 500),
        ('3e8', 300_000_000),
        ('1.5E+3', 1500),
        ('1_000_000', 1_000_000),
        ('0', 0),
        ('1000P', 10**18),
        (3e8, 300_000_000),
        (640, 640),
        (np.float64(3e8), 300_000_000),
    ],
)
def test_parse_count(text: str | float, count: int) -> None:
    parsed = parse_count(text)
    assert parsed == count
    assert type(parsed) is int


@pytest.mark.parametrize(
    ('bad', 'reason'),
    [
        ('', 'no count'),
        ('M', 'no count'),
        ('50%', 'no count'),
        ('-3M', 'no count'),
        ('1,5M', 'no count'),
        ('3e-2', 'no count'),
        ('nan', 'no count'),
        ('inf', 'no count'),
        ('300 MB', 'no count'),
        ('٣M', 'no count'),
        ('1.0005K', 'no whole number'),
        (0.5, 'no whole number'),
        (-1, 'not negative'),
        (float('nan'), 'finite'),
        (float('inf'), 'finite'),
        ('1e999', 'largest'),
        (10**19, 'largest'),
    ],
)
def test_bad_counts_name_the_value(bad: str | float, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_count(bad)
    assert repr(bad) in str(caught.value)


@pytest.mark.parametrize('bad', [None, True, [3], {'macs': 3}])
def test_other_types(bad: object) -> None:
    with pytest.raises(TypeError, match='300M'):
        parse_count(bad)  # type: ignore[arg-type]


@given(st.integers(0, 10**15))
def test_what_is_written_reads_back_within_three_digits(count: int) -> None:
    assert abs(parse_count(format_count(count)) - count) <= 0.005 * count
