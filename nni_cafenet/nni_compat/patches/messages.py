"""NNI's messages arrive unchanged, and only traced objects look traced."""

from __future__ import annotations

from typing import Any

from nni.common import serializer

__all__ = ['mark_only_what_is_traced', 'read_whole_messages']


def read_whole_messages() -> None:
    """Let NNI read its own messages whole.

    `nni.load` strips comments, and takes ``#`` and ``//`` for the start of one even inside a string, once messages are
    nested three deep, as those about trials are. One path, address or pickled object with either of them in the
    parameters of a trial ends the thread that listens to the NNI manager, and the experiment never hears of a trial
    again.
    """
    serializer.load.__kwdefaults__['ignore_comments'] = False


def mark_only_what_is_traced() -> None:
    """Let `nni.trace` of a function leave other objects alone.

    It marks the class of the function's result; every other object of that class then raises ``KeyError`` for its
    arguments, instead of the ``AttributeError`` of an object that has none.
    """
    original = serializer._make_class_traceable
    if getattr(original, 'marks_only_what_is_traced', False):
        return

    def make_class_traceable(cls: Any, create_wrapper: bool = False) -> Any:
        made = original(cls, create_wrapper)
        for name in ('symbol', 'args', 'kwargs'):
            setattr(made, f'trace_{name}', property(_getter(f'_nni_{name}'), vars(made)[f'trace_{name}'].fset))
        return made

    make_class_traceable.marks_only_what_is_traced = True  # type: ignore[attr-defined]
    serializer._make_class_traceable = make_class_traceable


def _getter(name: str) -> Any:
    def get(self: Any) -> Any:
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f'This {type(self).__name__} was not made by a traced function.') from None

    return get
