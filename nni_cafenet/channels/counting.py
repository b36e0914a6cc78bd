"""Counting floating-point operations as torch's own counter does, attention included."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.attention

__all__ = ['without_fused_attention']


@contextlib.contextmanager
def without_fused_attention() -> Iterator[None]:
    """Keep torch from its fused kernels for attention, whose products not every release counts."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
