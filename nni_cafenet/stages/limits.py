"""Limits of an experiment that runs in this process: its number of trainings, and its duration."""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from ..errors import LimitReachedError

__all__ = ['check_trainings', 'within_duration']

_KEPT = "All finished trainings and scores are kept; raise the limit in the experiment's config and run it again."


def check_trainings(engine: Any) -> None:
    """Raise `LimitReachedError` if NNI's engine accepts no more trainings."""
    if not engine.budget_available():
        limit = f'max_trial_number={engine.max_model_count} is reached, or its duration is over'
        raise LimitReachedError(f'The experiment accepts no more trainings: {limit}. {_KEPT}')


@contextlib.contextmanager
def within_duration(seconds: float | None) -> Iterator[None]:
    """Interrupt a block like Ctrl-C once a duration is over, which raises `LimitReachedError` from it.

    No effect in other threads than the main one.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    over = threading.Event()

    def interrupt() -> None:
        over.set()
        _thread.interrupt_main()

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        with _interrupted_by(over):
            yield
    except KeyboardInterrupt:
        if not over.is_set():
            raise
        raise LimitReachedError(f'The duration of {seconds:g} s is over. {_KEPT}') from None
    finally:
        timer.cancel()


@contextlib.contextmanager
def _interrupted_by(over: threading.Event) -> Iterator[None]:
    """Let a process that ignores Ctrl-C, as in the background of a shell, interrupt itself; it still ignores Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return

    def handle(*_: Any) -> None:
        if over.is_set():
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
