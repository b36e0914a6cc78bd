"""Tensors of a full model, replaced by those of a slim one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

__all__ = ['assign_other_tensors', 'resize_tensors']


def resize_tensors(model: nn.Module, state: Mapping[str, Any], tensors: str) -> None:
    """Replace the parameters or buffers of a model that differ from a state in shape or type; tied ones stay tied."""
    made: dict[int, tuple[Any, Any]] = {}  # {id: (original, replacement)}; keeps originals alive
    for path, module in list(model.named_modules()):
        own = getattr(module, tensors)
        for leaf, tensor in own.items():
            name = f'{path}.{leaf}' if path else leaf
            if tensor is None or name not in state:
                continue
            if (tensor.shape, tensor.dtype) == (state[name].shape, state[name].dtype):
                continue
            if id(tensor) not in made:
                smaller = torch.empty(state[name].shape, dtype=state[name].dtype)
                if isinstance(tensor, nn.Parameter):
                    smaller = nn.Parameter(smaller, requires_grad=tensor.requires_grad)
                made[id(tensor)] = (tensor, smaller)
            own[leaf] = made[id(tensor)][1]


def assign_other_tensors(model: nn.Module, others: Mapping[str, Any], unset: list[str]) -> None:
    """Assign tensors that are in no ``state_dict``."""
    for name, tensor in {**others, **dict.fromkeys(unset)}.items():
        path, _, leaf = name.rpartition('.')
        module = model.get_submodule(path)
        if leaf in module._buffers or leaf in vars(module):
            (module._buffers if leaf in module._buffers else vars(module))[leaf] = tensor
        elif tensor is not None:
            module.register_buffer(leaf, tensor, persistent=False)
