"""The layout of tensors in memory."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['memory_format_of', 'shares_memory']


def memory_format_of(tensor: Tensor) -> torch.memory_format:
    """Return channels last if a tensor has that format and no other, else contiguous."""
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.dim())
    has_it = last is not None and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=last)
    return last if has_it and last is not None else torch.contiguous_format


def shares_memory(tensor: Tensor) -> bool:
    """Whether elements of a tensor share memory, as in an expanded one."""
    if tensor.layout != torch.strided:
        return False
    return 0 in tensor.stride() and any(stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape))
