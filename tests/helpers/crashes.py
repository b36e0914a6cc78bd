"""An exception in the place of a kill: nothing in the package catches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Crash(BaseException):
    """What ends a run early."""


def crash_at(number: int, function: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return a function whose call of some number, counted from 1, raises `Crash`; other calls go to ``function``."""
    calls = 0

    def crashing(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            raise Crash
        return function(*args, **kwargs)

    return crashing
