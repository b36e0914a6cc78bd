"""A network is handed out only if it computes numbers."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ..channels.inputs import ExampleInput
from ..channels.run import using_mode
from ..channels.structures import tensors_in
from ..randomness import seeded

__all__ = ['computes_numbers']


def computes_numbers(model: nn.Module, example: ExampleInput | None) -> bool:
    """Whether no tensor of a network is NaN, and none of its outputs in evaluation mode NaN or infinite, on the CPU.

    Parameters
    ----------
    model
        The network.
    example
        What it is called with; None: only its tensors are looked at.
    """
    if any(each.device.type != 'cpu' for each in model.parameters()):
        model = copy.deepcopy(model).cpu()
    tensors = [*model.parameters(), *model.buffers()]
    if any(each.is_floating_point() and bool(torch.isnan(each).any()) for each in tensors):
        return False  # infinite values may be a mask
    if example is None:
        return True
    with torch.no_grad(), using_mode(model, training=False), seeded(0):
        outputs = tensors_in(model(*example.args, **example.kwargs))
    return all(bool(torch.isfinite(each).all()) for each in outputs)
