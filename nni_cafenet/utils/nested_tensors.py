"""Tensors nested in a model's inputs and outputs: containers, dataclasses, objects of any class."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

__all__ = ['map_tensors', 'named_tensors_in', 'tensors_in']

_LEAVES = (str, bytes, int, float, complex, type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, nn.Module)


def tensors_in(structure: Any) -> list[Tensor]:
    """Return the tensors in a structure, in order, with repetitions."""
    return list(_walk(structure, {}))


def map_tensors(function: Callable[[Tensor], Tensor], structure: Any) -> Any:
    """Return a copy of a structure with ``function`` applied once to each tensor."""
    # deepcopy takes replacements from its memo, and copies objects of any class around them.
    return copy.deepcopy(structure, {id(tensor): function(tensor) for tensor in _distinct(structure)})


def _distinct(structure: Any) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors_in(structure)}.values())


def named_tensors_in(structure: Any) -> list[tuple[str, Tensor]]:
    """Return the tensors in a structure, in order, with their paths in it: ``'.logits'``, ``"['boxes'][0]"``, ``''``."""
    return list(_walk_named('', structure, {}))


def _walk(value: Any, seen: dict[int, Any]) -> Iterator[Tensor]:
    return (tensor for _, tensor in _walk_named('', value, seen))


def _walk_named(path: str, value: Any, seen: dict[int, Any]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif value is not None and not isinstance(value, _LEAVES) and id(value) not in seen:
        seen[id(value)] = value  # keeps it alive, so that its id is not reused
        for step, part in _parts(value):
            yield from _walk_named(path + step, part, seen)


def _parts(value: Any) -> list[tuple[str, Any]]:
    """Return the children of an object, each with the step that leads to it."""
    if isinstance(value, Mapping):
        attributes = dataclasses.is_dataclass(value) or hasattr(value, 'reads_as_attributes')
        return [(f'.{key}' if attributes else f'[{key!r}]', part) for key, part in value.items()]
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return [(f'.{name}', part) for name, part in zip(value._fields, value)]
    if isinstance(value, (tuple, list, set, frozenset)):
        return [(f'[{index}]', part) for index, part in enumerate(value)]
    if dataclasses.is_dataclass(value):
        return [(f'.{field.name}', getattr(value, field.name)) for field in dataclasses.fields(value)]
    leaves: list[Any] = pytree.tree_leaves(value)
    if len(leaves) != 1 or leaves[0] is not value:
        return [(f'[{index}]', leaf) for index, leaf in enumerate(leaves)]
    return [(f'.{name}', part) for name, part in getattr(value, '__dict__', {}).items()]
