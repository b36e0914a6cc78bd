"""A progress line on stderr for work that turns out to take long; unlike tqdm's bars it keeps nothing in classes."""

from __future__ import annotations

import sys
import time
from types import TracebackType

__all__ = ['LateProgress']

_AFTER = 4.0
_EVERY_ON_TERMINAL = 0.5
_EVERY_IN_FILE = 15.0


class LateProgress:
    """Shows a number of steps once they have taken a few seconds; on a terminal the line is removed at the end.

    Parameters
    ----------
    title
        What is done.
    total
        Most steps.
    unit
        What a step is called, in plural.
    """

    def __init__(self, title: str, total: int, unit: str) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._done = 0
        self._next = time.monotonic() + _AFTER
        self._length = 0

    def step(self) -> None:
        """Count a step."""
        self._done += 1
        now = time.monotonic()
        if now < self._next:
            return
        terminal = sys.stderr.isatty()
        self._next = now + (_EVERY_ON_TERMINAL if terminal else _EVERY_IN_FILE)
        line = f'{self._title}: {self._done} of at most {self._total} {self._unit}'
        _show(f'\r{line}' if terminal else f'{line}\n')
        self._length = len(line) if terminal else 0

    def __enter__(self) -> LateProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._length:
            _show('\r' + ' ' * self._length + '\r')


def _show(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
