"""Windows that slide along channels: padding around them, and kernels that meet a channel and its neighbors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ...graph import ChannelKernel
from ..constraints import Dim, Ids, Symbol
from .registry import Call

__all__ = ['padded', 'slide']


def padded(call: Call, dim: Dim, before: int, after: int, mode: Any = 'constant') -> Dim:
    """Pad a dimension by fixed numbers of positions."""
    if dim is None:
        return None
    if before < 0 or after < 0:
        call.fix(dim)
        return None
    margins = [_margin(call, size) for size in (before, after)]
    if mode in ('circular', 'reflect', 'replicate'):
        least = max(before, after) + (mode == 'reflect')
        call.constraints.at_least.append((dim, 1 if mode == 'replicate' else least))
    return np.concatenate([margins[0], dim, margins[1]])


def _margin(call: Call, size: int) -> Ids:
    margin = call.constraints.new(size)
    call.fix(margin, reason=f'meets channels that {call.operator} adds')
    call.constraints.margins.update(margin.tolist())
    return margin


def slide(
    call: Call, dim: Dim, size: int, kernel: int, weight: Symbol, axis: int, stride: int, padding: Any, dilation: int
) -> Dim:
    """Slide a kernel, dimension ``axis`` of a weight, along a dimension; ``size`` is that of the result.

    Where every output position stands for one input position, its channel, the dimension passes: the kernel keeps its size.
    """
    if dim is None:
        return None
    margins = call.constraints.margins
    leading = sum(1 for _ in itertools.takewhile(margins.__contains__, dim.tolist()))
    trailing = sum(1 for _ in itertools.takewhile(margins.__contains__, dim[leading:][::-1].tolist()))
    inner = dim[leading : len(dim) - trailing]
    if isinstance(padding, str):
        padding = dilation * (kernel - 1) // 2 if padding == 'same' else 0
    center, rest = divmod(leading + padding, dilation)
    if kernel == 1 and len(inner) == size:
        return inner
    if stride != 1 or rest or not 0 <= center < kernel or len(inner) != size:
        call.fix(dim, reason=f'is convolved along its channels by {call.operator}, which changes their number')
        return None
    if weight.name is None:
        call.fix(dim, reason=f'is convolved along its channels by {call.operator} with a computed kernel')
        return None
    call.constraints.mix(inner)
    call.constraints.ordered.append((inner, ChannelKernel(weight.name, axis, center)))
    return inner
