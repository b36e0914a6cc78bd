"""Extract a slim model, or write one back into the full model."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from ..slicing import Selection, apply_attributes, memory_format_of, put
from ..utils import tensors_in
from .closures import rebind_closures

__all__ = ['slim_model', 'write_back']

_OWN = ('_parameters', '_buffers', '_modules')


def slim_model(model: nn.Module, selection: Selection) -> nn.Module:
    """Return a deep copy of a model, of its own classes, with its tensors reduced to the selected channels.

    Full tensors are never copied. Tied parameters, hooks and training modes are preserved; closures over modules are
    rebound to the copy.
    """
    memo: dict[int, Any] = {}
    slices = selection.slices(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in slices:
                values = slices[name].detach().clone(memory_format=memory_format_of(parameter))
                memo[id(parameter)] = nn.Parameter(values, requires_grad=parameter.requires_grad)
        for name, buffer in model.named_buffers():
            if name in slices:
                memo[id(buffer)] = slices[name].detach().clone(memory_format=memory_format_of(buffer))
    for module in model.modules():
        # deepcopy refuses non-leaf tensors, such as cached results.
        for tensor in tensors_in([value for name, value in vars(module).items() if name not in _OWN]):
            if tensor.grad_fn is not None:
                memo[id(tensor)] = tensor.detach().clone()
    slim = copy.deepcopy(model, memo)
    rebind_closures(slim, memo)
    apply_attributes(slim, copy.deepcopy(selection.attributes(model), memo))  # containers of its own
    for module in slim.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()  # on CUDA, weights of one layer side by side in memory
    return slim


@torch.no_grad()
def write_back(slim: nn.Module, model: nn.Module, selection: Selection) -> None:
    """Write a slim model's tensors into the full model, in place; a ValueError if they do not match the selection."""
    full = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    small = {**dict(slim.named_parameters()), **dict(slim.named_buffers())}
    if full.keys() != small.keys():
        raise ValueError(f'slim: other tensors than those of the model: {sorted(full.keys() ^ small.keys())}.')
    for name in selection.tables(full):
        del full[name]  # positions in the full model
    for name, tensor in full.items():
        positions = selection.positions.get(name, (None,) * tensor.dim())
        shape = tuple(size if at is None else len(at) for size, at in zip(tensor.shape, positions))
        if shape != tuple(small[name].shape):
            raise ValueError(f'slim: {name} has shape {tuple(small[name].shape)}; what is selected of it has {shape}.')
    for name, tensor in full.items():
        put(tensor, selection.positions.get(name, (None,) * tensor.dim()), small[name].to(tensor))
