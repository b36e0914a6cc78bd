"""SIGTERM ends a run as Ctrl-C does: what is open is closed, and the run says how to continue."""

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
    """Let SIGTERM leave this block as KeyboardInterrupt; a second one ends the process at once.

    Handlers of the program's own are left in place, and nothing is done outside the main thread.
    """
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
    """Let Ctrl-C and SIGTERM leave this block as `RunInterrupted`, which says how to continue in a folder."""
    with sigterm_as_interrupt():
        try:
            yield
        except RunInterrupted:
            raise
        except KeyboardInterrupt as error:
            raise RunInterrupted(f'{str(error) or "Interrupted."} {resume_hint(folder)}') from None


def resume_hint(folder: Path) -> str:
    """Return what a user does to continue a run, as sentences."""
    return f'Nothing that was trained or scored is lost. To continue, run again with directory={str(folder)!r}.'
