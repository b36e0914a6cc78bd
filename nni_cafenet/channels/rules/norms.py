"""Normalisation."""

from __future__ import annotations

from typing import Any

from ..constraints import Symbol
from .registry import Call, Dims, register_rule


@register_rule('aten.batch_norm', 'aten.instance_norm')
def batch_norm(
    call: Call,
    x: Symbol,
    weight: Symbol | None,
    bias: Symbol | None,
    mean: Symbol | None,
    variance: Symbol | None,
    *_: Any,
) -> Dims:
    """Normalise every channel (dimension 1) by itself."""
    channels = x.dims[1]
    for vector in (weight, bias, mean, variance):
        if vector is not None:
            channels = call.same(channels, vector.dims[0])
    return (x.dims[0], channels, *x.dims[2:])
