"""Operators of torchvision."""

from __future__ import annotations

from typing import Any

from ..constraints import Symbol
from .registry import Call, Dims, register_rule


@register_rule('torchvision.roi_align', 'torchvision.roi_pool')
def region_pooling(call: Call, x: Symbol, regions: Symbol, *_: Any, **__: Any) -> Any:
    """Pool regions of a feature map: (N, C, H, W) and (regions, 5) give (regions, C, *output)."""
    call.fix(x.dims[0], *x.dims[2:], *regions.dims)
    outputs = [(None, x.dims[1], None, None) for _ in call.shapes]
    return outputs if len(outputs) > 1 else outputs[0]


@register_rule('torchvision.deform_conv2d')
def deformable_convolution(
    call: Call, x: Symbol, weight: Symbol, offset: Symbol, mask: Symbol, bias: Symbol, *numbers: Any
) -> Dims:
    """Convolve at learned offsets. Weight: (out, in, *kernel). Its MACs are not counted, nor by torch."""
    groups, offset_groups = numbers[6], numbers[7]
    if groups != 1 or offset_groups != 1:
        return call.fixed(x, weight, offset, mask, bias)[0]
    call.fix(*offset.dims, *mask.dims, *x.dims[2:], *weight.dims[2:])
    call.same(x.dims[1], weight.dims[1])
    call.reads(weight, 1)
    call.produces(weight, 0)
    return (x.dims[0], call.same(weight.dims[0], bias.dims[0]), None, None)
