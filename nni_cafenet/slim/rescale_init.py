"""Rescale the initialization of a sliced model to its new fans."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ['rescale_initialization']

_LAWS = {
    'kaiming normal, fan out': lambda fan_in, fan_out: math.sqrt(2.0 / fan_out),
    'kaiming normal, fan in': lambda fan_in, fan_out: math.sqrt(2.0 / fan_in),
    "torch's default": lambda fan_in, fan_out: math.sqrt(1.0 / (3.0 * fan_in)),
    'lecun': lambda fan_in, fan_out: math.sqrt(1.0 / fan_in),
    'one sided uniform, fan out': lambda fan_in, fan_out: math.sqrt(1.0 / (3.0 * fan_out)),
    'xavier': lambda fan_in, fan_out: math.sqrt(2.0 / (fan_in + fan_out)),
}


def rescale_initialization(full: nn.Module, slim: nn.Module) -> None:
    """Rescale the initial weights of a slim model, sliced from the full one, to their new fans, in place.

    The initialization law of each weight with two or more dimensions is identified by its standard deviation (within
    10 %), and the slice is scaled to the law's deviation at the smaller fans. Weights with a constant deviation are left
    alone. Biases of torch's default law, which depends on the fan-in, are scaled with their weights.
    """
    before, after = dict(full.named_parameters()), dict(slim.named_parameters())
    with torch.no_grad():
        for name, weight in after.items():
            if weight.dim() < 2 or weight.shape == before[name].shape:
                continue
            law = _law_of(before[name])
            if law is None:
                continue
            scale = _LAWS[law](*_fans(weight)) / _LAWS[law](*_fans(before[name]))
            weight.mul_(scale)
            bias_name = f'{name.removesuffix("weight")}bias'
            bias = after.get(bias_name)
            if bias is not None and law == "torch's default" and bool(before[bias_name].any()):
                bias.mul_(scale)


def _fans(weight: Tensor) -> tuple[int, int]:
    receptive = weight[0][0].numel()
    return weight.shape[1] * receptive, weight.shape[0] * receptive


def _law_of(weight: Tensor) -> str | None:
    if weight.is_meta or weight.is_complex():
        return None
    spread = float(weight.float().std())
    if weight.numel() < 64 or spread == 0:
        return None
    distances = {name: abs(math.log(spread / law(*_fans(weight)))) for name, law in _LAWS.items()}
    best = min(distances, key=distances.__getitem__)
    return best if distances[best] < 0.1 else None
