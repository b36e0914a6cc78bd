"""Operators of torchvision."""

from __future__ import annotations

from typing import Any

from ..constraints import Symbol
from .conv_linear import grouped_channels
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
    """Convolve at learned offsets. Weight: (out, in / groups, *kernel). Its MACs are not counted, nor by torch.

    Offset groups move equally many neighboring input channels, and therefore keep the same positions. Whole weight groups
    are removed where that leaves more widths than removing channels in each. Sizes of tensors give the numbers of groups.
    """
    groups, offset_groups = numbers[6], numbers[7]
    call.fix(*offset.dims, *mask.dims, reason=f'holds the offsets or the mask of {call.operator}')
    call.fix(*x.dims[2:], *weight.dims[2:], reason='')
    call.produces(weight, 0)
    inputs = x.dims[1]
    if groups == 1:
        call.same(inputs, weight.dims[1])
        call.reads(weight, 1)
    else:
        of_each = weight.shape[1]  # inputs
        whole_groups = of_each == 1 or groups // offset_groups > of_each // max(1, offset_groups // groups)
        if whole_groups:
            call.attribute('groups', weight, 0, weight.shape[0] // groups)
        grouped_channels(call, inputs, weight, groups, whole_groups=whole_groups)
    if inputs is not None:
        call.same(*inputs.reshape(offset_groups, -1))
    return (x.dims[0], call.same(weight.dims[0], bias.dims[0]), None, None)
