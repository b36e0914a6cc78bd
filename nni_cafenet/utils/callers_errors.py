"""Errors of the caller that surface around a model's code: of signal handlers, time limits, arguments, memory."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType, TracebackType

from ..errors import OutputsError

__all__ = ['pass_on']


def pass_on(error: BaseException, *, memory: bool = True) -> None:
    """Raise an error again that the user's model is not to blame for; call this first where any error is caught.

    Parameters
    ----------
    error
        The caught error. Errors that it was raised from, or while handling them, count as well.
    memory
        Whether memory that ran out passes.
    """
    for each in _chain(error):
        if (
            isinstance(each, OutputsError)
            or _is_time_limit(each)
            or _is_raised_by_handler(each)
            or (memory and _is_out_of_memory(each))
        ):
            raise each


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _is_time_limit(error: BaseException) -> bool:
    name = type(error).__name__.lower()
    return isinstance(error, TimeoutError) or 'timeout' in name or 'timedout' in name


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or type(error).__name__ == 'OutOfMemoryError'


def _is_raised_by_handler(error: BaseException) -> bool:
    """Whether a signal handler was running: a function that was called with the number of a signal and a frame."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        names = code.co_varnames[: code.co_argcount + bool(code.co_flags & 4)]  # 4: *args
        given = [trace.tb_frame.f_locals.get(name) for name in names]
        if given and isinstance(given[-1], tuple):
            given[-1:] = given[-1]
        for number, frame in zip(given, given[1:]):
            if isinstance(frame, FrameType) and isinstance(number, int) and number in signal.valid_signals():
                return True
        trace = trace.tb_next
    return False
