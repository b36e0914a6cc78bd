"""Validation of users' arguments."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar, cast

from .files import absolute_path

__all__ = [
    'LARGEST_SEED',
    'check_flag',
    'check_instance',
    'check_name',
    'check_number',
    'check_path',
    'check_seed',
    'check_whole_number',
    'nearest',
    'shown_value',
]

LARGEST_SEED = 2**63 - 1
"""The largest seed that numpy, torch and Python all accept."""

Kind = TypeVar('Kind')


def check_whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return ``value`` as an int; raises ValueError for other types (bool included) or values out of range."""
    if isinstance(value, Integral) and not _is_flag(value):
        found = int(value)
        if least <= found and (most is None or found <= most):
            return found
    allowed = f'{least} or more' if most is None else f'from {least} to {most}'
    raise ValueError(f'{name}={shown_value(value)} must be a whole number, {allowed}.')


def check_seed(value: Any, name: str = 'seed') -> int:
    """Return a seed that numpy, torch and Python all accept."""
    return check_whole_number(name, value, 0, LARGEST_SEED)


def check_number(
    name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, open: bool = False, what: str = ''
) -> float:
    """Return ``value`` as a float; a ValueError if it is not a finite number within the bounds.

    ``open`` excludes the bounds; ``what`` describes the allowed values in the error message.
    """
    if isinstance(value, Real) and not _is_flag(value):
        found = float(value)
        if math.isfinite(found) and (low < found < high if open else low <= found <= high):
            return found
    if high < math.inf:
        allowed = f'a number between {low:g} and {high:g}' if open else f'a number from {low:g} to {high:g}'
    elif low > -math.inf:
        allowed = f'a finite number above {low:g}' if open else f'a finite number, {low:g} or more'
    else:
        allowed = 'a finite number'
    raise ValueError(f'{name}={shown_value(value)} must be {allowed}{f": {what}" if what else ""}.')


def check_flag(name: str, value: Any) -> bool:
    """Return ``value`` as a bool; raises TypeError for anything else, such as ``'yes'`` or 1."""
    if _is_flag(value):
        return bool(value)
    raise TypeError(f'{name}={shown_value(value)} must be True or False.')


def check_name(name: str, value: Any, what: str) -> str:
    """Return a nonempty string; raises TypeError or ValueError."""
    if not isinstance(value, str):
        raise TypeError(f'{name}={shown_value(value)} must be {what}, as text.')
    if not value.strip():
        raise ValueError(f'{name}={value!r} is empty: give {what}.')
    return value


def check_path(name: str, value: Any) -> Path:
    """Return an absolute path; raises TypeError or ValueError, also for an empty string."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise TypeError(f'{name}={shown_value(value)} must be a path, as text or a pathlib.Path.')
    text = os.fspath(value)
    if not text.strip() or '\0' in text:
        raise ValueError(f"{name}={text!r} is not a path. Write '.' for the working directory.")
    return absolute_path(text)


def check_instance(name: str, value: Any, kind: Callable[..., Kind], remedy: str = '') -> Kind:
    """Return ``value`` if it is an instance of ``kind``; raises TypeError otherwise."""
    if isinstance(kind, type) and isinstance(value, kind):
        return cast(Kind, value)
    given = f'the class {value.__name__}' if isinstance(value, type) else shown_value(value)
    example = f', such as {remedy}' if remedy else ''
    raise TypeError(f'{name}={given} must be a {getattr(kind, "__name__", kind)}{example}.')


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Sort names by similarity to ``name``, most similar first."""
    lower = name.lower()
    return sorted(known, key=lambda other: (-difflib.SequenceMatcher(None, lower, other.lower()).ratio(), other))


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ('bool_', 'bool')  # numpy's, without importing it


def shown_value(value: Any) -> str:
    """Return a value as messages show it, at most 120 characters."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  a user's __repr__ may raise anything
        text = f'<{type(value).__name__}>'
    return text if len(text) <= 120 else f'{text[:117]}...'
