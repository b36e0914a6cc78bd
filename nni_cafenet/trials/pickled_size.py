"""Size of pickled objects, their largest part, and the modules they need."""

from __future__ import annotations

import inspect
import io
import itertools
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
import torch
from torch import Tensor, nn

from ..errors import first_line
from ..nni_compat import RecordPickler, is_recorded
from ..utils import format_count

__all__ = ['Measure', 'format_bytes', 'heaviest', 'measured']

_MOST, _MANY, _DEPTH = 2**24, 1000, 8
"""Limits of the measurement: bytes without tensors, items per container, depth."""


class _TooLargeError(Exception):
    pass


class _Counter(io.RawIOBase):
    """A file that only counts bytes."""

    size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self.size += size
        if self.size > _MOST:
            raise _TooLargeError
        return size


class _Scale(RecordPickler):
    """A pickler that measures size, without reading tensor values, and collects required modules."""

    def __init__(self, counter: _Counter, by_records: bool) -> None:
        super().__init__(counter)
        self.by_records = by_records
        self.data: dict[int, int] = {}
        self.modules: dict[str, None] = {}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Tensor) and obj.layout is torch.strided:
            storage = obj.untyped_storage()  # a view pickles the whole storage
            self.data[storage._cdata] = storage.nbytes()
            return bool, ()
        if isinstance(obj, np.ndarray) and obj.dtype != object:
            self.data[id(obj)] = obj.nbytes
            return bool, ()
        reduced = super().reducer_override(obj) if self.by_records else cloudpickle.Pickler.reducer_override(self, obj)
        if self.by_records and is_recorded(obj):
            self.modules[obj.trace_symbol.__module__] = None
        elif isinstance(obj, ModuleType):
            self.modules[obj.__name__] = None
        elif reduced is NotImplemented and (isinstance(obj, type) or inspect.isfunction(obj)):
            self.modules[obj.__module__] = None
        return reduced


class Measure(NamedTuple):
    """Size and requirements of a pickled value.

    ``size`` is in bytes, a lower bound if ``given_up``. ``modules`` are the required ones. ``problem`` is why it cannot
    be pickled, or None.
    """

    size: int
    modules: list[str]
    problem: str | None = None
    given_up: bool = False

    def __str__(self) -> str:
        return f'{"more than " if self.given_up else ""}{format_bytes(self.size)}'


def measured(value: Any, by_records: bool) -> Measure:
    """Measure a pickled value, up to 16 MiB beside tensors and arrays, whose values are not read.

    With ``by_records``, traced objects are pickled as their constructor records (see `RecordPickler`).
    """
    counter = _Counter()
    scale = _Scale(counter, by_records)
    try:
        scale.dump(value)
    except _TooLargeError:
        pass
    except Exception as error:  # noqa: BLE001  user classes may raise anything
        return Measure(0, [], f'{type(error).__name__}: {first_line(error)}')
    given_up = counter.size > _MOST
    return Measure(counter.size + sum(scale.data.values()), list(scale.modules), given_up=given_up)


def format_bytes(size: int) -> str:
    """Format a number of bytes: ``'65.5KB'``."""
    return f'{format_count(size)}B'


def heaviest(path: str, value: Any, by_records: bool) -> str:
    """Name the part that accounts for most of a value's size; empty if none does."""
    inner, measure = '', measured(value, by_records)
    whole = measure.size
    for _ in range(_DEPTH):
        parts = ((measured(item, by_records), name, item) for name, item in _parts(value))
        most = next((part for part in parts if 2 * part[0].size >= whole > 0), None)
        if most is None:
            break
        measure, inner, value = most[0], f'{inner}{most[1]}', most[2]
    return f', {measure} of them in {path}{inner}' if inner else ''


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f'[{key!r}]', item) for key, item in itertools.islice(value.items(), _MANY))
    elif isinstance(value, (list, tuple)):
        yield from ((f'[{index}]', item) for index, item in enumerate(value[:_MANY]))
    elif isinstance(value, nn.Module):
        yield from ((f'.{name}', item) for name, item in value.named_children())
    elif not isinstance(value, (Tensor, np.ndarray, type)):
        yield from ((f'.{name}', item) for name, item in getattr(value, '__dict__', {}).items())
