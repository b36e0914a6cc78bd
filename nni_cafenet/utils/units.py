"""Human-readable counts and times: `1.81G` MACs, `25.6M` parameters, `300M`, `5ms`."""

from __future__ import annotations

import math
import re
from decimal import Decimal

__all__ = ['format_count', 'format_duration', 'format_time', 'parse_count', 'parse_time']

_LETTERS = ('', 'K', 'M', 'G', 'T', 'P')
_FACTORS = {'': 1, 'K': 10**3, 'M': 10**6, 'G': 10**9, 'B': 10**9, 'T': 10**12, 'P': 10**15}
_COUNT = re.compile(
    r'([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)'  # digits
    r'(?:e\+?([0-9]{1,3}))?'  # exponent
    r'\s*([kmgbtp]?)',  # letter
    re.IGNORECASE | re.ASCII,
)
_LARGEST = 10**18
_NANOSECONDS = {'ns': 1, 'us': 10**3, 'µs': 10**3, 'μs': 10**3, 'ms': 10**6, 's': 10**9}
_TIME = re.compile(r'([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)\s*(ns|us|µs|μs|ms|s)', re.ASCII)


def format_count(count: float) -> str:
    """Format a count with three significant digits and `K`, `M`, `G`, `T` or `P`; none for whole numbers below 1000.

    >>> format_count(1814073344), format_count(300_000_000), format_count(640)
    ('1.81G', '300M', '640')
    """
    if not math.isfinite(count):
        return str(float(count))
    sign = '-' if count < 0 else ''
    scaled = abs(count)
    if scaled < 999.5:
        return f'{sign}{scaled:.3g}'
    power = 0
    # 999.5K rounds to 1.00M: three digits never show 1000.
    while scaled >= 999.5 and power < len(_LETTERS) - 1:
        scaled /= 1000
        power += 1
    decimals = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f'{sign}{scaled:.{decimals}f}{_LETTERS[power]}'


def format_duration(seconds: float) -> str:
    """Format a time that somebody waits for, to two digits at most: seconds, minutes, hours or days.

    >>> format_duration(0.2), format_duration(75), format_duration(200), format_duration(5_000), format_duration(200_000)
    ('1 s', '75 s', '3 min', '1.4 h', '56 h')
    """
    for unit, size in (('s', 1), ('min', 60)):
        if seconds < 90 * size:
            return f'{max(1, round(seconds / size))} {unit}'
    hours = seconds / 3600
    return f'{hours:.1f} h' if hours < 9.95 else f'{hours:.0f} h' if hours < 100 else f'{hours / 24:.0f} d'


def parse_count(text: str | float) -> int:
    """Parse a count: digits with an optional fraction, exponent and letter, in either case; `_` may separate digits.

    The letters are `K` (10^3), `M` (10^6), `G` or `B` (10^9), `T` (10^12) and `P` (10^15). Results are exact. Raises
    ValueError if ``text`` cannot be parsed, or is negative, not whole, or above 10^18; TypeError if it is neither a
    string nor a number.

    >>> parse_count('300M'), parse_count('1.1G')
    (300000000, 1100000000)
    >>> parse_count('3e8') == parse_count(3e8) == parse_count('0.3 G')
    True
    """
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise TypeError(f"a count must be a number or a string such as '300M', not {text!r}")
    if isinstance(text, str):
        match = _COUNT.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a count: write a number such as 300000000, 3e8, '300M' or '1.8G'")
        digits, exponent, letter = match.groups()
        count = Decimal(digits.replace('_', '')).scaleb(int(exponent or 0)) * _FACTORS[letter.upper()]
    elif not math.isfinite(text) or text < 0:
        raise ValueError(f'{text!r} is not a count: it must be finite and not negative')
    else:
        count = Decimal(text)
    if count > _LARGEST:
        raise ValueError(f'{text!r} is above the largest count, 1e18')
    if count != int(count):
        raise ValueError(f'{text!r} is not a whole number: write a count such as 300000000 or 3e8')
    return int(count)


def format_time(nanoseconds: float) -> str:
    """Format a time in ns with three significant digits, in the largest of s, ms, us and ns in which it is at least 1.

    >>> format_time(5_120_000), format_time(640)
    ('5.12 ms', '640 ns')
    """
    for unit, next_unit in (('ns', 10**3), ('us', 10**6), ('ms', 10**9)):
        # 999.5 us rounds to 1.00 ms: three digits never show 1000.
        if abs(nanoseconds) < 0.9995 * next_unit:
            return f'{_three_digits(1000 * nanoseconds / next_unit)} {unit}'
    return f'{_three_digits(nanoseconds / 10**9)} s'


def _three_digits(number: float) -> str:
    size = abs(number)
    if number == int(number) and size < 1000:
        return str(int(number))
    return f'{number:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f}'


def parse_time(text: str) -> int:
    """Parse a time in `s`, `ms`, `us` (or `µs`) or `ns` to nanoseconds, rounded down.

    Raises ValueError if ``text`` cannot be parsed, or is longer than 10^18 ns; TypeError if it is not a string: a bare
    number has no unit.

    >>> parse_time('5ms'), parse_time('1.5 us')
    (5000000, 1500)
    """
    if not isinstance(text, str):
        raise TypeError(f"a time must be a string with a unit, such as '5ms', not {text!r}")
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time: write a number and a unit, such as '5ms', '0.8 s' or '750us'")
    time = Decimal(match[1].replace('_', '')) * _NANOSECONDS[match[2]]
    if time > _LARGEST:
        raise ValueError(f'{text!r} is above the longest time, 1e9 s')
    return int(time)
