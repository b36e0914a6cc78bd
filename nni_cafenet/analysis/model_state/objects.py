"""What a model and its code hold, object by object; `restore` puts it back.

A forward may change more than buffers: detection heads cache anchors in attributes, in dicts of their class and in globals;
tracers leave tensors without values there. `untouched` notes every object that the model's code can reach, and puts the
very same objects back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import random
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from . import restore
from .writes import BeforeWrites, memory_of

__all__ = ['ModelState', 'code_names', 'code_words', 'untouched']

_MOST = 100_000
"""Objects to note; a model may hold a whole application."""

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size})
_CONTAINERS = frozenset({dict, OrderedDict, list, set, deque})

_CLOSED = frozenset(sys.stdlib_module_names) - {'collections', 'weakref', 'types'} | {'torch', 'numpy', 'nni'}
"""Packages whose objects hold no state of a model."""

_CLOSED_CODE = _CLOSED | {'collections', 'weakref', 'types', 'torchvision', __name__.partition('.')[0]}
"""Packages whose functions and classes are not followed."""


@contextlib.contextmanager
def untouched(model: nn.Module) -> Iterator[ModelState]:
    """Undo what a block changes in a model and in what its code reaches, also when the block fails.

    The global random generators are brought back as well.
    """
    with _same_random_numbers(model):
        state = ModelState(model)
        try:
            yield state
        finally:
            state.restore()


@contextlib.contextmanager
def _same_random_numbers(model: nn.Module) -> Iterator[None]:
    """Bring the global random generators back."""
    devices = {tensor.device.index for tensor in (*model.parameters(), *model.buffers()) if tensor.is_cuda}
    python, array = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=sorted(devices)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)


class ModelState:
    """The objects that a model and its code hold.

    Attributes, containers, hooks, flags, gradients, attributes of classes, globals and closures of the model's own code
    are brought back by identity; caches of ``functools.lru_cache`` that have grown are emptied. Values of tensors come back
    if they were written in a block of `watching`.

    Parameters
    ----------
    model
        The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._undo: list[Callable[[], list[Any]]] = []
        # In plain lists, since a model has thousands: so many closures would set off the garbage collector.
        self._empty: list[Any] = []
        self._contents: list[tuple[Any, Any]] = []
        self._flags: list[tuple[Tensor, bool, Tensor | None, Tensor | None]] = []
        self._objects: list[tuple[Any, type, dict[str, Any] | None, list[tuple[str, Any]]]] = []
        self._tensors: dict[int, Tensor] = {}  # by the number of their memory
        self._written: dict[int, tuple[Tensor, Tensor]] = {}
        self._seen: dict[Any, Any] = {}
        self._waiting: list[Any] = [model]
        while self._waiting and len(self._seen) < _MOST:
            value = self._waiting.pop()
            if id(value) not in self._seen:
                self._seen[id(value)] = value  # keeps it alive: another object could get its id
                self._note(value)

    def restore(self) -> list[Any]:
        """Bring everything back; return the values that had taken the place of others."""
        changed = [value for undo in self._undo for value in undo()]
        changed += [value for each in self._objects for value in restore.restore_object(*each)]
        changed += [value for each in self._empty if each for value in restore.restore_contents(each, ())]
        for each in self._contents:
            changed += restore.restore_contents(*each)
        for flags in self._flags:
            restore.restore_flags(*flags)
        with torch.no_grad():
            for tensor, values in self._written.values():
                tensor.data.copy_(values)
        return changed

    def watching(self) -> contextlib.AbstractContextManager[Any]:
        """Note the values of tensors before a real forward writes to them."""
        return BeforeWrites(self.before_write)

    def before_write(self, tensor: Tensor) -> None:
        """Note the values of a tensor that is about to be written to, if the model holds it."""
        memory = memory_of(tensor)
        own = self._tensors.get(memory)
        if own is not None and memory not in self._written:
            self._written[memory] = own, own.detach().clone()

    # --- what is noted of each kind of object ---------------------------------------------------

    def _note(self, value: Any) -> None:
        if isinstance(value, Tensor):
            self._note_tensor(value)
        elif isinstance(value, nn.Module):
            self._note_attributes(value)
            self._later([type(value)])
        elif isinstance(value, (dict, list, set, deque)):
            if not value:
                self._empty.append(value)
            else:
                before = restore.contents(value)
                self._contents.append((value, before))
                self._later(before.values() if isinstance(before, dict) else before)
        elif isinstance(value, (tuple, frozenset)):
            self._later(value)
        elif isinstance(value, type):
            self._note_class(value)
        elif isinstance(value, FunctionType):
            self._note_function(value)
        elif isinstance(value, MethodType):
            self._later([value.__self__, value.__func__])
        elif isinstance(value, functools.partial):
            self._later([value.func, value.args, value.keywords])
        elif isinstance(value, functools._lru_cache_wrapper):
            self._later([value.__wrapped__])
            self._undo.append(restore.cache(value))
        elif isinstance(value, property):
            self._later([value.fget])
        elif isinstance(value, (staticmethod, classmethod)):
            self._later([value.__func__])
        elif isinstance(value, functools.cached_property):
            self._later([value.func])
        elif isinstance(value, np.ndarray):
            self._note_array(value)
        elif not self._note_generator(value) and (
            _package(type(value)) not in _CLOSED or dataclasses.is_dataclass(value)
        ):
            self._note_attributes(value)
            self._later([type(value)])

    def _later(self, values: Iterable[Any]) -> None:
        for value in values:
            kind = type(value)
            if kind in _CONTAINERS and not value:
                self._empty.append(value)
            elif kind not in _PLAIN:
                self._waiting.append(value)

    def _note_tensor(self, tensor: Tensor) -> None:
        if is_lazy(tensor):
            return
        whole = _data(tensor)
        if whole is not None and not tensor.is_meta:
            self._tensors.setdefault(memory_of(tensor), tensor)
        self._flags.append((tensor, tensor.requires_grad, tensor.grad if tensor.is_leaf else None, whole))

    def _note_attributes(self, owner: Any) -> None:
        """Note the attributes of an object, those in slots too, and its class."""
        kind = type(owner)
        slots = [(name, getattr(owner, name, restore.MISSING)) for name in _slots(kind)]  # type: ignore[arg-type]
        self._later(value for _, value in slots if value is not restore.MISSING)
        attributes = getattr(owner, '__dict__', None)
        before = attributes.copy() if type(attributes) is dict else None
        self._later(before.values() if before is not None else ())
        self._objects.append((owner, kind, before, slots))

    def _note_class(self, owner: type) -> None:
        if _package(owner) in _CLOSED_CODE:
            return
        self._later(owner.__mro__[1:])
        before = {name: value for name, value in vars(owner).items() if not restore.is_special(name)}
        self._later([*before.values(), *(vars(owner).get(name) for name in ('__call__', '__getattr__'))])

        self._undo.append(restore.class_attributes(owner, before))

    def _note_function(self, function: FunctionType) -> None:
        if (function.__module__ or '').partition('.')[0] in _CLOSED_CODE:
            return
        self._later([function.__dict__, function.__defaults__, function.__kwdefaults__])
        self._later([function.__wrapped__] if hasattr(function, '__wrapped__') else [])
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # an empty cell
                self._note_binding(cell.cell_contents, _of_cell(cell), _into_cell(cell))
        names = code_names(function.__code__)
        self._note_globals(function.__globals__, names)

    def _note_globals(self, namespace: dict[str, Any], names: frozenset[str]) -> None:
        for name in names:
            if name in namespace:
                value = namespace[name]
                if isinstance(value, ModuleType):
                    inner = vars(value)
                    if value.__name__.partition('.')[0] not in _CLOSED_CODE and inner is not namespace:
                        key = (id(inner), names)
                        if key not in self._seen:
                            self._seen[key] = inner
                            self._note_globals(inner, names)
                elif not isinstance(value, (type, FunctionType)):
                    self._note_binding(value, _of_name(namespace, name), _into_name(namespace, name))
                else:
                    self._later([value])

    def _note_binding(self, value: Any, get: Callable[[], Any], put: Callable[[Any], None]) -> None:
        self._later([value])
        self._undo.append(restore.binding(value, get, put))

    def _note_array(self, array: np.ndarray[Any, Any]) -> None:
        if array.dtype != object and array.size <= _MOST and array.flags.writeable:
            self._undo.append(restore.array_of_numbers(array))

    def _note_generator(self, value: Any) -> bool:
        """Note the state of a random generator; False if it is none."""
        undo = restore.generator(value)
        if undo is not None:
            self._undo.append(undo)
        return undo is not None


def _data(tensor: Tensor) -> Tensor | None:
    """Return a tensor on the same memory, to restore it if a model swaps the memory (``tensor.data = ...``)."""
    plain = tensor.layout == torch.strided and isinstance(tensor, Tensor) and not tensor.is_inference()
    return tensor.detach() if plain else None


def _package(kind: type) -> str:
    return str(getattr(kind, '__module__', '')).partition('.')[0]


@functools.lru_cache(None)
def _slots(kind: type) -> tuple[str, ...]:
    names = []
    for base in kind.__mro__:
        found = vars(base).get('__slots__', ())
        names += [found] if isinstance(found, str) else list(found)
    return tuple(name for name in names if name not in ('__dict__', '__weakref__'))


def code_names(code: CodeType) -> frozenset[str]:
    """Return the names that a function's code, and the functions inside it, use."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= code_names(constant)
    return frozenset(names)


def code_words(code: CodeType) -> frozenset[str]:
    """Return the names that a function's code, and the functions inside it, use, and the texts that may be names."""
    texts = {each for each in code.co_consts if isinstance(each, str) and each.isidentifier()}
    return code_names(code).union(texts, *(code_words(each) for each in code.co_consts if isinstance(each, CodeType)))


def _of_cell(cell: Any) -> Callable[[], Any]:
    return lambda: getattr(cell, 'cell_contents', restore.MISSING)


def _into_cell(cell: Any) -> Callable[[Any], None]:
    return lambda value: setattr(cell, 'cell_contents', value)


def _of_name(namespace: dict[str, Any], name: str) -> Callable[[], Any]:
    return lambda: namespace.get(name, restore.MISSING)


def _into_name(namespace: dict[str, Any], name: str) -> Callable[[Any], None]:
    return lambda value: namespace.__setitem__(name, value)
