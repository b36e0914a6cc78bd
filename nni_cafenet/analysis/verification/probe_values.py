"""Tensors under which a model shows what it computes, where its own hold nothing that tells."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ...graph import ExampleInput

__all__ = ['check_device', 'probe_inputs', 'probe_tensors']

_MOST = 2**30
"""Bytes of a model on the meta device up to which it is given values."""


def check_device(model: nn.Module) -> torch.device:
    """Return the device that a model is held against real forwards on.

    It is the model's own. A model on the meta device is given values on the CPU if it has up to 1 GiB; a larger one
    stays there: shapes are all that can be checked then.

    Raises
    ------
    ValueError
        If only some of its tensors are on the meta device.
    """
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    without = [name for name, tensor in named.items() if tensor.is_meta]
    if not without:
        return next((tensor.device for tensor in named.values()), torch.device('cpu'))
    if len(without) < len(named):
        some = ', '.join(without[:3]) + (', ...' if len(without) > 3 else '')
        raise ValueError(
            f'model: {len(without)} of the {len(named)} tensors of {type(model).__name__} are on the meta device ({some}). '
            "Load them all before, or build the space from the model with all its tensors there: model.to('meta')."
        )
    size = sum(tensor.numel() * tensor.element_size() for tensor in named.values())
    return torch.device('cpu' if size <= _MOST else 'meta')


def probe_inputs(example: ExampleInput, device: torch.device) -> ExampleInput:
    """Return an example input for a model without values: seeded values on the CPU, or all of it on the meta device."""
    if device.type == 'meta':
        return example.map(lambda tensor: tensor.to('meta'))
    generator = torch.Generator().manual_seed(0)

    def filled(tensor: Tensor) -> Tensor:
        if not tensor.is_meta:
            return tensor
        if not tensor.is_floating_point():
            return torch.zeros(tensor.shape, dtype=tensor.dtype)
        return torch.randn(tensor.shape, generator=generator).to(tensor.dtype)

    return example.map(filled)


def probe_tensors(model: nn.Module, device: torch.device) -> dict[str, Tensor]:
    """Return seeded random values for tensors whose own do not show what the model computes.

    Parameters that are all zero (a last layer, a gate that training opens) or hold values that are not finite hide
    whatever stands before them; a tensor on the meta device has no values at all and gets them on the CPU.

    Parameters
    ----------
    model
        The model; it is left as it was.
    device
        See `check_device`.

    Returns
    -------
    ``{name: tensor}``, for those tensors only.
    """
    if device.type == 'meta':
        return {}
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.is_meta or not _tells(parameter):
            found[name] = _random(parameter, generator)
    for name, buffer in model.named_buffers():  # zeros and infinities of a buffer are its meaning (masks)
        if buffer.is_meta or (buffer.is_floating_point() and bool(buffer.isnan().any())):
            found[name] = _random(buffer, generator)
    return found


def _tells(parameter: Tensor) -> bool:
    if parameter.numel() == 0 or not parameter.is_floating_point() or parameter.layout != torch.strided:
        return True
    low, high = (float(bound) for bound in torch.aminmax(parameter.detach()))
    return math.isfinite(low) and math.isfinite(high) and (low, high) != (0.0, 0.0)


def _random(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Return normal values with the spread of the fan for weights, from 0.5 to 1.5 for vectors, 0 for whole numbers."""
    device = 'cpu' if tensor.is_meta else tensor.device
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device=device)
    if tensor.dim() < 2:
        values = torch.rand(tensor.shape, generator=generator) + 0.5
    else:
        values = torch.randn(tensor.shape, generator=generator) / math.sqrt(max(1, tensor[0].numel()))
    return values.to(device=device, dtype=tensor.dtype)
