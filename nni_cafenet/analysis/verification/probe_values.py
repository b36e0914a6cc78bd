"""Seeded random values for tensors that are zero, not finite or without values, so that outputs can be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ...graph import ChannelKernel, ExampleInput

__all__ = ['centers_alone', 'check_device', 'probe_inputs', 'probe_tensors']

_MOST = 2**30
"""Bytes up to which a model on the meta device is given values."""


def check_device(model: nn.Module) -> torch.device:
    """Return the device on which a model is verified.

    That is the model's own. A model on the meta device is given values on the CPU if it has up to 1 GiB; a larger one
    stays there, and only its shapes are checked.

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
    """Return the example input for a model without values: seeded values on the CPU, or all on the meta device."""
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
    """Return seeded random values for tensors whose own values hide what the model computes.

    Parameters that are all zero (a last layer, a gate that training opens) or not finite hide all layers before them.
    Tensors on the meta device get values on the CPU.

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


def centers_alone(
    model: nn.Module, kernels: Sequence[ChannelKernel], values: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return kernels that slide along channels with zeros everywhere but at their centers."""
    own = dict(model.named_parameters())
    found: dict[str, Tensor] = {}
    for kernel in kernels:
        tensor = found.get(kernel.parameter, values.get(kernel.parameter, own[kernel.parameter].detach()))
        center = tensor.narrow(kernel.axis, kernel.center, 1)
        center = center if bool(center.any()) else torch.ones_like(center)
        found[kernel.parameter] = torch.zeros_like(tensor)
        found[kernel.parameter].narrow(kernel.axis, kernel.center, 1).copy_(center)
    return found


def _tells(parameter: Tensor) -> bool:
    if parameter.is_complex():
        parameter = torch.view_as_real(parameter.detach())
    if parameter.numel() == 0 or not parameter.is_floating_point() or parameter.layout != torch.strided:
        return True
    low, high = (float(bound) for bound in torch.aminmax(parameter.detach()))
    return math.isfinite(low) and math.isfinite(high) and (low, high) != (0.0, 0.0)


def _random(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Return normal values scaled by fan-in for weights, uniform ones in [0.5, 1.5) for vectors, zeros for integers."""
    device = 'cpu' if tensor.is_meta else tensor.device
    if tensor.is_complex():
        pairs = torch.empty((*tensor.shape, 2), dtype=tensor.dtype.to_real(), device=device)
        return torch.view_as_complex(_random(pairs, generator))
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device=device)
    if tensor.dim() < 2:
        values = torch.rand(tensor.shape, generator=generator) + 0.5
    else:
        values = torch.randn(tensor.shape, generator=generator) / math.sqrt(max(1, tensor[0].numel()))
    return values.to(device=device, dtype=tensor.dtype)
