"""Which modules' code was running when an error was raised."""

from __future__ import annotations

from types import FrameType

from torch import nn

__all__ = ['Lines', 'running_modules']

Lines = tuple[int, ...]
"""The running line of a module's forward, then that of each of its methods called there."""


def running_modules(error: BaseException, model: nn.Module) -> dict[str, Lines]:
    """Return the modules whose code was running, innermost first, and the lines of each.

    A module is recognized as the first argument of a method, whatever that is called, or as the one that torch calls.

    Parameters
    ----------
    error
        The error.
    model
        The model that ran.
    """
    paths = {id(module): path for path, module in model.named_modules()}
    places: dict[str, Lines] = {}
    called: str | None = None
    trace = error.__traceback__
    while trace is not None:
        path = paths.get(id(_owner(trace.tb_frame)))
        if trace.tb_frame.f_globals.get('__name__') == nn.modules.module.__name__:
            called = path
        else:
            path = called if path is None else path
            if path is not None:
                places[path] = (*places.pop(path, ()), trace.tb_lineno)
            called = None
        trace = trace.tb_next
    return dict(list(places.items())[::-1])


def _owner(frame: FrameType) -> object:
    """Return the first argument of a function that is running."""
    code = frame.f_code
    first = frame.f_locals.get(code.co_varnames[0]) if code.co_varnames else None
    if code.co_argcount == 0 and isinstance(first, tuple):
        return first[0] if first else None
    return first if code.co_argcount else None
