"""The slim model: the user's own modules, with smaller tensors."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from ..channels.run import apply_attributes
from ..channels.selection import Selection
from ..channels.structures import tensors_in
from .closures import rebind_functions

__all__ = ['slim_model']

_OWN = ('_parameters', '_buffers', '_modules')


def slim_model(model: nn.Module, selection: Selection) -> nn.Module:
    """Return a copy of a model that has only what a selection picks.

    Everything but the selected tensors is a deep copy; the full tensors are never copied. Modules keep their classes,
    tied parameters stay tied, and hooks and modes are kept. Functions that close over modules of the model close over
    those of the copy.

    Parameters
    ----------
    model
        The full model.
    selection
        What to keep.
    """
    memo: dict[int, Any] = {}
    slices = selection.slices(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in slices:
                values = slices[name].detach().clone(memory_format=torch.contiguous_format)
                memo[id(parameter)] = nn.Parameter(values, requires_grad=parameter.requires_grad)
        for name, buffer in model.named_buffers():
            if name in slices:
                memo[id(buffer)] = slices[name].detach().clone(memory_format=torch.contiguous_format)
    for (
        module
    ) in model.modules():  # results of earlier calls that the code keeps: deepcopy refuses those with gradients
        for tensor in tensors_in([value for name, value in vars(module).items() if name not in _OWN]):
            if tensor.grad_fn is not None:
                memo[id(tensor)] = tensor.detach().clone()
    slim = copy.deepcopy(model, memo)
    rebind_functions(slim, memo)
    apply_attributes(slim, selection.attributes(model))
    return slim
