from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nni_cafenet.utils.units import format_count, format_time, parse_count, parse_time


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
        ('', 'not a count'),
        ('M', 'not a count'),
        ('50%', 'not a count'),
        ('-3M', 'not a count'),
        ('1,5M', 'not a count'),
        ('3e-2', 'not a count'),
        ('nan', 'not a count'),
        ('inf', 'not a count'),
        ('300 MB', 'not a count'),
        ('٣M', 'not a count'),
        ('1.0005K', 'not a whole number'),
        (0.5, 'not a whole number'),
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


@pytest.mark.parametrize(
    ('nanoseconds', 'text'),
    [
        (0, '0 ns'),
        (640, '640 ns'),
        (999.6, '1.00 us'),
        (1500, '1.50 us'),
        (5_120_000, '5.12 ms'),
        (64_893_210, '64.9 ms'),
        (999_400_000, '999 ms'),
        (999_600_000, '1.00 s'),
        (75 * 10**9, '75 s'),
    ],
)
def test_times_are_written_in_three_digits(nanoseconds: float, text: str) -> None:
    assert format_time(nanoseconds) == text


@pytest.mark.parametrize(
    ('text', 'nanoseconds'),
    [
        ('5ms', 5_000_000),
        (' 0.8 s ', 800_000_000),
        ('750us', 750_000),
        ('1.5 \u00b5s', 1500),
        ('2.\u03bcs', 2000),
        ('.5ns', 0),
        ('1_000ns', 1000),
        ('1.0000000019s', 1_000_000_001),
    ],
)
def test_times_are_read(text: str, nanoseconds: int) -> None:
    assert parse_time(text) == nanoseconds
    assert type(parse_time(text)) is int


@pytest.mark.parametrize('bad', ['', '5', 'ms', '-5ms', '5 m', '5 MS', '1e3ms', '50%', 'nan s', '99999999999s'])
def test_bad_times_name_the_value(bad: str) -> None:
    with pytest.raises(ValueError, match="such as '5ms'|longest time") as caught:
        parse_time(bad)
    assert repr(bad) in str(caught.value)


@pytest.mark.parametrize('bad', [5, 0.005, None, True])
def test_a_time_without_a_unit(bad: object) -> None:
    with pytest.raises(TypeError, match=f"a unit, such as '5ms', not {bad!r}"):
        parse_time(bad)  # type: ignore[arg-type]


@given(st.integers(0, 10**15))
def test_times_read_back_within_three_digits(nanoseconds: int) -> None:
    assert abs(parse_time(format_time(nanoseconds)) - nanoseconds) <= 0.005 * nanoseconds
