"""Names of the input and output tensors of a model."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..graph import ExampleInput

__all__ = ['bound_arguments', 'named_inputs', 'output_names']


def bound_arguments(model: nn.Module, inputs: ExampleInput) -> dict[str, Any]:
    """Return the arguments of a call by the names that the model's ``forward`` has for them."""
    return dict(inspect.signature(model.forward).bind(*inputs.args, **inputs.kwargs).arguments)


def named_inputs(model: nn.Module, inputs: ExampleInput) -> dict[str, Tensor]:
    """Return the tensors among the arguments by name: ``image``, ``batch.mask`` in a dict, ``images.0`` in a list."""
    return _named(bound_arguments(model, inputs))


def output_names(model: nn.Module, inputs: ExampleInput, taken: Collection[str]) -> list[str] | None:
    """Return a name for every output tensor: ``output``, or the key in its container, apart from ``taken`` names.

    None if other values than tensors are returned, which a file cannot hold.
    """
    fresh = inputs.fresh()
    with torch.no_grad():
        output = model(*fresh.args, **fresh.kwargs)
    if not all(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(output)):
        return None
    names = _named(output if isinstance(output, dict) else {'output': output})
    return [f'output.{name}' if name in taken else name for name in names]


def _named(structure: Any) -> dict[str, Tensor]:
    leaves, _ = pytree.tree_flatten_with_path(structure)
    return {'.'.join(map(_key, path)): leaf for path, leaf in leaves if isinstance(leaf, Tensor)}


def _key(entry: Any) -> str:
    for attribute in ('key', 'idx', 'name'):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)
