"""Values that NNI would change or reject on the way to a trial, sent unchanged.

NNI sends JSON: tuples arrive as lists, keys as strings, and a ``torch.dtype``, a random generator, bytes or a compiled
pattern has no JSON form.
"""

from __future__ import annotations

import base64
import copy
import functools
import inspect
import io
import os
import random
import sys
import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import cloudpickle
import nni
import numpy as np
import torch
from nni.common.serializer import (
    PayloadTooLarge,
    get_hybrid_cls_or_func_name,
    import_cls_or_func_from_hybrid_name,
)
from nni.mutable import Mutable

from ...utils import format_count
from ..patches import patch_nni

__all__ = [
    'PickledArgument',
    'RecordPickler',
    'importable',
    'is_recorded',
    'pickle_argument',
    'pickle_limit',
    'takes_pickled',
    'unpickle_argument',
]

_Function = TypeVar('_Function', bound=Callable[..., Any])
_RANDOM = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)

patch_nni()  # sent values must also be read


def pickle_limit() -> int:
    """Return the size limit, in bytes, of a pickled object sent to a trial: NNI's own, or its variable."""
    return int(os.environ.get('PICKLE_SIZE_LIMIT', 64 * 1024))


class PickledArgument:
    """An argument that reaches another process unchanged, pickled by cloudpickle.

    Functions called with it get the value, by `nni.trace`, by `nni_cafenet.traced`, or if decorated with
    `takes_pickled`. Inside the value, objects with constructor records are sent as these (see `RecordPickler`).
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)

    def _unwrap_parameter(self) -> Any:  # NNI calls it when it passes arguments on
        # The receiver draws from a generator; the value here keeps its original state.
        return copy.deepcopy(self.value) if isinstance(self.value, _RANDOM) else self.value

    def _dump(self) -> dict[str, str]:
        file = io.BytesIO()
        RecordPickler(file).dump(self.value)
        packed = zlib.compress(file.getvalue())
        if len(packed) > pickle_limit() > 0:
            raise PayloadTooLarge(
                f'A {type(self.value).__name__} has {format_count(len(packed))}B pickled; the limit is '
                f'{pickle_limit()} bytes.'
            )
        return {'pickle': base64.urlsafe_b64encode(packed).decode()}

    @classmethod
    def _load(cls, pickle: str) -> PickledArgument:
        return cls(cloudpickle.loads(zlib.decompress(base64.urlsafe_b64decode(pickle))))


class RecordPickler(cloudpickle.Pickler):
    """Pickles objects with constructor records (`is_recorded`) as these, without their contents."""

    def reducer_override(self, obj: Any) -> Any:
        """Return the constructor call of a recorded object; others are left to cloudpickle."""
        if is_recorded(obj):
            name = get_hybrid_cls_or_func_name(obj.trace_symbol, sys.maxsize)
            return _made_again, (name, list(obj.trace_args), dict(obj.trace_kwargs))
        return super().reducer_override(obj)


def _made_again(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return nni.trace(import_cls_or_func_from_hybrid_name(name))(*args, **kwargs)


def is_recorded(value: Any) -> bool:
    """Whether an object remembers its own constructor call, by `nni.trace`, `nni_cafenet.traced` or as a model space.

    Unlike NNI's ``is_traceable`` this is not misled by an object that passes attributes of another one on, nor by the
    marks that `nni.trace` of a function leaves on the class of its result.
    """
    if isinstance(value, type) or inspect.getattr_static(value, 'trace_symbol', None) is None:
        return False
    try:
        return value.trace_symbol is not None and value.trace_kwargs is not None
    except (AttributeError, KeyError):
        return False


def pickle_argument(value: Any) -> Any:
    """Return a value in a form that NNI's serialization brings to another process unchanged.

    Plain JSON values, recorded objects, importable classes and functions and NNI's mutables stay as they are; anything
    else becomes a `PickledArgument`, with the present state of random generators.
    """
    if _survives(value):
        return value
    return PickledArgument(copy.deepcopy(value) if isinstance(value, _RANDOM) else value)


def unpickle_argument(value: Any) -> Any:
    """Return the original value, as functions receive it; also the default of a mutable."""
    unwrap = getattr(value, '_unwrap_parameter', None)
    return value if unwrap is None or isinstance(value, type) else unwrap()


def takes_pickled(function: _Function) -> _Function:
    """Let a function be called with `PickledArgument` objects, of which it gets the values."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*map(_value, args), **{name: _value(value) for name, value in kwargs.items()})

    return cast(_Function, call)


def _value(value: Any) -> Any:
    return unpickle_argument(value) if isinstance(value, PickledArgument) else value


def importable(value: Any) -> bool:
    """Whether a class or function can be imported by its name, from another module than the script."""
    found: Any = sys.modules.get(getattr(value, '__module__', None) or '')
    if found is None or found.__name__ == '__main__':
        return False
    for part in getattr(value, '__qualname__', '').split('.'):
        found = getattr(found, part, None)
    return found is value


def _survives(value: Any) -> bool:
    if type(value) in (type(None), bool, int, float, str):
        return True
    if type(value) is list:
        return all(map(_survives, value))
    if type(value) is dict:
        return all(type(key) is str and not key.startswith('__') and _survives(item) for key, item in value.items())
    if isinstance(value, type) and hasattr(value, 'trace_symbol') and '_traced' not in vars(value):
        return False  # nni.trace of a function has marked it, and NNI takes it for an object
    if isinstance(value, type) or inspect.isroutine(value):
        return '.' not in getattr(value, '__qualname__', '.') and importable(value)
    return isinstance(value, (PickledArgument, Mutable)) or is_recorded(value)
