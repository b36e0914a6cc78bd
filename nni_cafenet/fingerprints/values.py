"""Any object as plain data, equal in every process: no addresses, no varying order, no random state."""

from __future__ import annotations

import collections.abc
import enum
import functools
import hashlib
import json
import logging
import math
import os
import random
import re
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, ClassVar

import numpy as np
import torch
import torchmetrics
from torch import Tensor, nn

from .code import class_code, code_name, is_library, is_wrapped_function, same_code

__all__ = ['Describer', 'differences', 'digest', 'record_of']

_DEEPEST = 12
_LONG = 64
_RANDOM = (np.random.Generator, np.random.RandomState, random.Random)
_TEXT = (torch.dtype, torch.device, torch.Size, range, slice, re.Pattern, complex, torch.layout)
_PROCESS = (types.ModuleType, logging.Logger, types.TracebackType, types.FrameType)
_MODULE_OWN = frozenset(vars(nn.Module()))
_METRIC_OWN = frozenset(
    'update compute compute_on_cpu dist_sync_on_step process_group dist_sync_fn distributed_available_fn '
    'sync_on_compute compute_with_cache'.split()
)


def record_of(value: Any) -> Any:
    """Return an object as plain data: numbers, strings, lists and dicts."""
    return Describer()(value)


def digest(record: Any) -> str:
    """Return a short hash of plain data."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:12]


def differences(there: Any, now: Any, path: str = '') -> Iterator[tuple[str, Any, Any]]:
    """Yield the differences of two records (see `record_of`), also read from JSON: the option, and both values."""
    if isinstance(there, Mapping) and isinstance(now, Mapping):
        for key in {**there, **now}:
            yield from differences(there.get(key), now.get(key), f'{path}.{key}' if path else str(key))
    elif isinstance(there, list) and isinstance(now, list) and len(there) == len(now):
        for index, (a, b) in enumerate(zip(there, now)):
            yield from differences(a, b, f'{path}[{index}]')
    elif not same_code(there, now):
        yield path, there, now


class Describer:
    """Describes objects; repeated ones are only named."""

    kinds: ClassVar[list[tuple[type, Callable[[Any], Any]]]] = []
    """Classes with their own descriptions; `data` adds loaders and data sets."""

    def __init__(self) -> None:
        self._above: list[int] = []
        self._known: dict[int, tuple[Any, Any]] = {}

    def __call__(self, value: Any) -> Any:
        """Return an object as plain data."""
        if value is None or isinstance(value, (bool, int)) and not isinstance(value, enum.Enum):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, str) and not isinstance(value, enum.Enum):
            return 'a path' if os.path.isabs(value) else value
        if id(value) in self._known:
            return self._known[id(value)][1]
        if id(value) in self._above or len(self._above) > _DEEPEST:
            return type(value).__qualname__
        self._above.append(id(value))
        try:
            described = self._described(value)
        finally:
            self._above.pop()
        self._known[id(value)] = (value, described)  # keeping the object prevents reuse of its id
        return described

    def _described(self, value: Any) -> Any:
        if isinstance(value, (Tensor, np.ndarray, np.generic, bytes, bytearray)):
            return _array(value)
        if isinstance(value, (enum.Enum, *_TEXT)):
            return str(value)
        if isinstance(value, PurePath):
            return 'a path'
        if isinstance(value, functools.partial):
            return {'partial': self(value.func), 'args': self(list(value.args)), **self(dict(value.keywords))}
        if isinstance(value, types.MethodType):
            return {'method': code_name(value.__func__, self), 'of': self(value.__self__)}
        if isinstance(value, type) or is_wrapped_function(value):
            return code_name(value, self)
        if isinstance(value, torch.Generator):
            return f'Generator(seed {value.initial_seed()})'
        if isinstance(value, (*_RANDOM, *_PROCESS)):
            return type(value).__qualname__
        for kind, describe in self.kinds:
            if isinstance(value, kind):
                return describe(value)
        return self._container(value)

    def _container(self, value: Any) -> Any:
        if isinstance(value, collections.abc.Mapping):
            return {self._key(key): self(each) for key, each in value.items()}
        if type(value) in (set, frozenset):
            return sorted((self(each) for each in value), key=repr)
        if type(value) in (list, tuple):
            return self._sequence(value)
        if isinstance(value, torchmetrics.Metric):
            return self._metric(value)
        if isinstance(value, nn.Module):
            return self.module(value)
        return self._object(value)

    def _key(self, key: Any) -> str:
        return key if isinstance(key, str) else repr(self(key))

    def _sequence(self, value: Any) -> Any:
        found = [self(each) for each in value]
        return found if len(found) <= _LONG else f'{len(found)} values [{digest(found)}]'

    def _object(self, value: Any) -> Any:
        state = dict(getattr(value, '__dict__', {}))
        for base in type(value).__mro__:
            slots = vars(base).get('__slots__', ())
            for name in [slots] if isinstance(slots, str) else slots:
                if hasattr(value, name) and name not in ('__dict__', '__weakref__'):
                    state[name] = getattr(value, name)
        state = {name: each for name, each in state.items() if not _is_a_mark(name)}
        if not state:
            text = repr(value)
            return text if ' at 0x' not in text and is_library(type(value).__module__) else self._kind(value)
        return {'class': self._kind(value), **{name: self(each) for name, each in sorted(state.items())}}

    def _kind(self, value: Any) -> Any:
        return code_name(type(value), self)

    def _metric(self, metric: Any) -> Any:
        """Describe a metric by its settings, without its state."""
        own = _MODULE_OWN | _METRIC_OWN | set(metric._defaults)
        state = {name: each for name, each in vars(metric).items() if name not in own and not name.startswith('_')}
        return {'class': self._kind(metric), **{name: self(each) for name, each in sorted(state.items())}}

    def module(self, module: nn.Module, *, without: tuple[str, ...] = (), own: frozenset[str] = frozenset()) -> Any:
        """Describe a module by its settings, its layers and the tensors that no training changes.

        Attributes and layers named in ``without`` are ignored; ``own`` are attributes of its base class to be included.
        """
        skipped = _MODULE_OWN | own | set(without)
        state = {name: each for name, each in vars(module).items() if name not in skipped and not _is_a_mark(name)}
        # An instance attribute that replaces a method is that of a test, a debugger or a profiler.
        state = {name: each for name, each in state.items() if not (callable(each) and hasattr(type(module), name))}
        record = {'class': type(module).__qualname__, **{name: self(each) for name, each in sorted(state.items())}}
        code = class_code(type(module), self)
        if code:
            record['code'] = code
        for name, tensor in {**module._parameters, **module._buffers}.items():
            if tensor is not None and name not in without:
                record[name] = _shape(tensor) if tensor.requires_grad else _array(tensor)
        for name, child in module._modules.items():
            if child is not None and name not in without:
                record[name] = self(child)
        return record


def _is_a_mark(name: str) -> bool:
    """Whether an attribute is a constructor record or a cache."""
    return name.startswith(('_nni_', 'trace_', '__'))


def _shape(tensor: Tensor) -> str:
    return f'{tuple(tensor.shape)} {str(tensor.dtype).removeprefix("torch.")}'


def _array(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return f'{len(value)} bytes [{hashlib.sha256(value).hexdigest()[:8]}]'
    if isinstance(value, np.generic):
        return Describer()(value.item()) if not isinstance(value.item(), np.generic) else str(value)
    if isinstance(value, Tensor):
        if value.is_meta or value.layout is not torch.strided:
            return _shape(value)
        text, flat = _shape(value), value.detach().cpu().contiguous().reshape(-1)
        content = flat.view(torch.uint8).numpy().tobytes() if flat.numel() and not flat.is_quantized else b''
    else:
        text = f'{value.shape} {value.dtype}'
        content = repr(value.tolist()).encode() if value.dtype.hasobject else np.ascontiguousarray(value).tobytes()
    return f'{text} [{hashlib.sha256(content).hexdigest()[:8]}]'
