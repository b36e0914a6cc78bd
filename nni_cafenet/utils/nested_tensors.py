"""Tensors nested in a model's inputs and outputs: containers, dataclasses, objects of any class."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

__all__ = ['map_tensors', 'tensors_in']

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


def _walk(value: Any, seen: dict[int, Any]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif value is not None and not isinstance(value, _LEAVES) and id(value) not in seen:
        seen[id(value)] = value  # keeps it alive, so that its id is not reused
        for part in _parts(value):
            yield from _walk(part, seen)


def _parts(value: Any) -> list[Any]:
    """Return the children of an object."""
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, (tuple, list, set, frozenset)):
        return list(value)
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    leaves: list[Any] = pytree.tree_leaves(value)
    if len(leaves) != 1 or leaves[0] is not value:
        return leaves
    return list(getattr(value, '__dict__', {}).values())
