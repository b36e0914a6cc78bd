"""What is put back, kind by kind: functions undo a change and return the values that had taken the place of others."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .writes import memory_of

__all__ = [
    'MISSING',
    'array_of_numbers',
    'binding',
    'cache',
    'class_attributes',
    'contents',
    'generator',
    'is_special',
    'restore_contents',
    'restore_flags',
    'restore_object',
]

MISSING = object()
"""Stands in for an attribute that an object does not have."""

Undo = Callable[[], list[Any]]


# --- undone by a function that is made when the object is found ---------------------------------


def class_attributes(owner: type, before: dict[str, Any]) -> Undo:
    """Bring back the attributes of a class."""

    def undo() -> list[Any]:
        changed = []
        for name, value in list(vars(owner).items()):
            if not is_special(name) and before.get(name, MISSING) is not value:
                changed.append(value)
                if name not in before:
                    type.__delattr__(owner, name)
        for name, value in before.items():
            if vars(owner).get(name, MISSING) is not value:
                type.__setattr__(owner, name, value)
        return changed

    return undo


def binding(value: Any, get: Callable[[], Any], put: Callable[[Any], None]) -> Undo:
    """Bring back the value of a global name or of a closure's cell."""

    def undo() -> list[Any]:
        found = get()
        if found is value:
            return []
        put(value)
        return [found]

    return undo


def cache(function: Any) -> Undo:
    """Empty the cache of a function of ``functools.lru_cache`` if it has grown."""
    before = function.cache_info()

    def undo() -> list[Any]:
        nonlocal before
        if function.cache_info().misses != before.misses:
            function.cache_clear()
            before = function.cache_info()
        return []

    return undo


def array_of_numbers(array: np.ndarray[Any, Any]) -> Undo:
    """Bring back the values of a NumPy array."""
    before = array.copy()

    def undo() -> list[Any]:
        if array.shape == before.shape:
            array[...] = before
        return []

    return undo


def generator(value: Any) -> Undo | None:
    """Bring back the state of a random generator; None for any other object."""
    get, put = _generator_state(value)
    if get is None or put is None:
        return None
    before, set_state = get(), put

    def undo() -> list[Any]:
        set_state(before)
        return []

    return undo


def _generator_state(value: Any) -> tuple[Callable[[], Any] | None, Callable[[Any], Any] | None]:
    if isinstance(value, torch.Generator):
        return value.get_state, value.set_state
    if isinstance(value, (random.Random, np.random.RandomState)):
        state = ('getstate', 'setstate') if isinstance(value, random.Random) else ('get_state', 'set_state')
        return getattr(value, state[0]), getattr(value, state[1])
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        return lambda: bits.state, lambda state: setattr(bits, 'state', state)
    return None, None


# --- undone from plain lists: a model has thousands of these ------------------------------------


def restore_contents(container: Any, before: Any) -> list[Any]:
    """Bring back the contents of a container."""
    return [] if _same(container, before) else _refill(container, before)


def contents(container: Any) -> Any:
    """Return a plain copy of what a dict, set, list or deque holds; its own ``__getitem__`` may return something else."""
    if isinstance(container, OrderedDict):
        return dict(OrderedDict.items(container))
    if isinstance(container, dict):
        return dict(dict.items(container))
    return set(container) if isinstance(container, set) else list(container)


def restore_object(
    owner: Any, kind: type, before: dict[str, Any] | None, slots: Sequence[tuple[str, Any]]
) -> list[Any]:
    """Bring back the class and the attributes of an object; return the values that had taken the place of others."""
    changed: list[Any] = []
    if type(owner) is not kind:
        object.__setattr__(owner, '__class__', kind)
    for name, value in slots:
        found = getattr(owner, name, MISSING)
        if found is not value:
            changed.append(found)
            if value is MISSING:
                object.__delattr__(owner, name)
            else:
                object.__setattr__(owner, name, value)
    if before is not None and not _same(owner.__dict__, before):
        changed += _refill(owner.__dict__, before)
    return changed


def restore_flags(tensor: Tensor, needs: bool, gradient: Tensor | None, whole: Tensor | None) -> None:
    """Bring back the memory, the gradient and `requires_grad` of a tensor."""
    if whole is not None and _swapped(tensor, whole):
        tensor.data = whole
    if tensor.is_leaf:
        if tensor.requires_grad is not needs:
            tensor.requires_grad_(needs)
        if tensor.grad is not gradient:
            tensor.grad = gradient


def _swapped(tensor: Tensor, whole: Tensor) -> bool:
    return memory_of(tensor) != memory_of(whole) or tensor.shape != whole.shape or tensor.stride() != whole.stride()


def is_special(name: str) -> bool:
    """Whether a name is Python's own; those are left alone."""
    return (name.startswith('__') and name.endswith('__')) or name.startswith('_abc_')


def _same(container: Any, before: Any) -> bool:
    """Whether a container holds the very same objects, in the same order."""
    if len(container) != len(before):
        return False
    if isinstance(container, dict):
        return all(map(_is, container, before)) and all(map(_is, container.values(), before.values()))
    return container == before if isinstance(container, set) else all(map(_is, container, before))


def _refill(container: Any, before: Any) -> list[Any]:
    """Bring back what was in a container; return what has come into it since."""
    values = list(container.values()) if isinstance(container, dict) else list(container)
    known = {id(value) for value in (before.values() if isinstance(before, dict) else before)}
    container.clear()
    (container.update if isinstance(container, (dict, set)) else container.extend)(before)
    return [value for value in values if id(value) not in known]


def _is(left: Any, right: Any) -> bool:
    return left is right
