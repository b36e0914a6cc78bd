"""Whether a model's own code depends on training or evaluation mode, apart from torch's layers and dropout."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from torch import nn

from ..model_state import code_names, code_words

__all__ = ['may_read_mode']

_TOLD = frozenset({'training', 'is_grad_enabled', 'is_inference_mode_enabled', 'grad_mode'})
_KNOWN = frozenset({'torch', 'numpy', 'math', 'typing', 'collections', 'functools', 'logging', 'warnings', 'builtins'})
_DROPOUT = re.compile(r'dropout[123]?d?\([^()]*\btraining\s*=\s*self\.training\b[^()]*\)')
_HOOKS = ('_forward_hooks', '_forward_pre_hooks')


def may_read_mode(model: nn.Module) -> bool:
    """Whether a model's own code reads or overrides the mode; True if its code is not available.

    Calls of dropout with ``training=self.training`` are ignored.
    """
    seen: set[Any] = set()
    for module in model.modules():
        own = vars(module)
        if any(own[hooks] for hooks in _HOOKS) and _package(type(module)) != 'torch':
            return True
        if type(module) not in seen and _class_reads(type(module), seen):
            return True
        for value in own.values() if _package(type(module)) != 'torch' else ():
            if callable(value) and not isinstance(value, (nn.Module, type)) and _reads(value, seen):
                return True
    return False


def _class_reads(kind: type, seen: set[Any]) -> bool:
    if kind in seen or _package(kind) in _KNOWN:
        return False
    seen.add(kind)
    members = dict(vars(kind))
    if issubclass(kind, nn.Module) and ('train' in members or 'eval' in members):
        return True
    own = any(_reads(value, seen) for name, value in members.items() if name != '__init__')
    return own or any(_class_reads(base, seen) for base in kind.__mro__[1:])


def _reads(value: Any, seen: set[Any]) -> bool:
    """Whether a function, or one that it calls, reads the mode."""
    while not isinstance(value, FunctionType):
        inner = getattr(value, '__func__', None) or getattr(value, 'fget', None) or getattr(value, 'func', None)
        inner = inner or getattr(value, '__wrapped__', None)
        if inner is None:
            return callable(value) and not isinstance(value, type) and _package(type(value)) not in _KNOWN
        value = inner
    if value in seen or (value.__module__ or '').partition('.')[0] in _KNOWN:
        return False
    seen.add(value)
    names = code_names(value.__code__)
    if not _TOLD.isdisjoint(code_words(value.__code__)) and not _only_dropout(value):
        return True
    return any(_callee_reads(each, names, seen) for each in _reached(value, names))


def _reached(function: FunctionType, names: frozenset[str]) -> Iterator[Any]:
    yield from (function.__globals__[name] for name in names if name in function.__globals__)
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty cell
            yield cell.cell_contents


def _callee_reads(value: Any, names: frozenset[str], seen: set[Any]) -> bool:
    if isinstance(value, ModuleType):
        if value.__name__.partition('.')[0] in _KNOWN:
            return False
        inner = [vars(value)[name] for name in names if name in vars(value)]
        return any(_reads(each, seen) for each in inner if isinstance(each, FunctionType))
    if isinstance(value, type):
        return _class_reads(value, seen)
    return isinstance(value, FunctionType) and _reads(value, seen)


@functools.lru_cache(None)
def _only_dropout(function: FunctionType) -> bool:
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        return False
    return not any(name in _DROPOUT.sub('', source) for name in _TOLD)


def _package(kind: type) -> str:
    return str(getattr(kind, '__module__', '')).partition('.')[0]
