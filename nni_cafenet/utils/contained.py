"""Numbers in the containers of a module: dicts, tuples, lists, dataclasses and other objects of plain settings."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from enum import Enum
from typing import Any

import torch

__all__ = ['Keys', 'contained_numbers', 'replace_contained']

Keys = tuple[str | int, ...]
"""The way to a value inside a container: keys of dicts, positions of sequences, names of fields."""

_DEEPEST = 4
"""Most containers inside each other that are looked into."""

_MOST = 256
"""Most entries of a container that is looked into; larger ones hold data."""

_PLAIN = (bool, int, float, complex, str, bytes, type(None), Enum, torch.dtype, torch.device)


def contained_numbers(value: Any) -> Iterator[tuple[Keys, int | tuple[int, ...]]]:
    """Yield the whole numbers in a container with the ways to them; sequences of nothing else as a whole.

    Parameters
    ----------
    value
        A dict, tuple, list, dataclass, or an object whose attributes are all plain values (a configuration). Of anything
        else nothing is yielded.
    """
    yield from _numbers((), value, ())


def _numbers(keys: Keys, value: Any, outer: tuple[Any, ...]) -> Iterator[tuple[Keys, int | tuple[int, ...]]]:
    if type(value) is int:
        yield keys, value
    elif type(value) in (tuple, list, torch.Size) and value and {type(number) for number in value} == {int}:
        if len(value) <= _MOST:
            yield keys, tuple(value)
    elif len(outer) < _DEEPEST and not any(value is each for each in outer):
        for key, inner in _entries(value):
            yield from _numbers((*keys, key), inner, (*outer, value))


def _entries(value: Any) -> list[tuple[str | int, Any]]:
    if isinstance(value, dict):
        found: list[tuple[Any, Any]] = [(key, inner) for key, inner in value.items() if type(key) in (str, int)]
    elif isinstance(value, (tuple, list)):
        found = list(enumerate(value))
    else:
        found = [(key, inner) for key, inner in _fields(value).items() if not key.startswith('_')]
    return found if len(found) <= _MOST else []


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, or the attributes of an object that has plain ones only."""
    if isinstance(value, (type, torch.nn.Module)):
        return {}
    own: dict[str, Any] = getattr(value, '__dict__', {})
    if dataclasses.is_dataclass(value):
        return {**{each.name: getattr(value, each.name, None) for each in dataclasses.fields(value)}, **own}
    return own if _is_plain(value, 0) else {}


def _is_plain(value: Any, depth: int) -> bool:
    if isinstance(value, _PLAIN):
        return True
    if depth > _DEEPEST or isinstance(value, type) or callable(value):
        return False
    if isinstance(value, (tuple, list, set, frozenset)):
        return all(_is_plain(each, depth + 1) for each in value)
    own = value if isinstance(value, dict) else getattr(value, '__dict__', None)
    return isinstance(own, dict) and all(_is_plain(each, depth + 1) for each in own.values())


def replace_contained(value: Any, keys: Keys, new: Any) -> Any:
    """Return a value with what is at ``keys`` replaced.

    Containers on the way are copied, nothing else is. If nothing changes, the value itself is returned.
    """
    if not keys:
        return value if type(value) is type(new) and value == new else new
    key: Any = keys[0]
    before = value[key] if isinstance(value, (dict, tuple, list)) else getattr(value, key)
    after = replace_contained(before, keys[1:], new)
    if after is before:
        return value
    if isinstance(value, (tuple, list)):
        items = [after if position == key else item for position, item in enumerate(value)]
        return value._make(items) if hasattr(value, '_make') else type(value)(items)
    copied = copy.copy(value)
    if isinstance(value, dict):
        copied[key] = after
    else:
        object.__setattr__(copied, key, after)  # dataclasses may be frozen
    return copied
