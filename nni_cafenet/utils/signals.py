"""SIGTERM interrupts a run like Ctrl-C, with a message that says how to resume."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import RunInterrupted

__all__ = ['TERMINATED', 'interruptible', 'resume_hint', 'sigterm_as_interrupt']

TERMINATED = 'Terminated (SIGTERM).'


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM; a second SIGTERM kills. No effect in other threads or beside another handler."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise KeyboardInterrupt(TERMINATED)

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def interruptible(folder: Path) -> Iterator[None]:
    """Raise `RunInterrupted` on Ctrl-C or SIGTERM, with a hint how to resume from ``folder``."""
    with sigterm_as_interrupt():
        try:
            yield
        except RunInterrupted:
            raise
        except KeyboardInterrupt as error:
            raise RunInterrupted(f'{str(error) or "Interrupted."} {resume_hint(folder)}') from None


def resume_hint(folder: Path) -> str:
    """Return the sentences that say how to resume a run."""
    return f'Nothing that was trained or scored is lost. To continue, run again with directory={str(folder)!r}.'
