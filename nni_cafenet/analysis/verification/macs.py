"""Counting floating-point operations as torch's own counter does, attention included."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

__all__ = ['PassingCounter', 'without_fused_attention']


class PassingCounter(TorchDispatchMode):
    """Count the MACs of a run that is made for another reason, by the formulas of torch's counter without its book-keeping.

    ``FlopCounterMode`` follows modules and looks for decompositions of every operator, which takes as long as a forward of
    MobileNetV2 does; this takes half of that, and the forward is there anyway.

    Attributes
    ----------
    macs : int or None
        What ``FlopCounterMode / 2`` would be of the same calls; None where a fused kernel of attention ran, whose products
        not every release of torch counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs: int | None = 0
        self._flops = 0

    def __torch_dispatch__(self, func: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        packet = func._overloadpacket
        if _is_fused(packet):
            self.macs = None
        elif packet in flop_registry and self.macs is not None:
            self._flops += flop_registry[packet](*args, **kwargs, out_val=result)
            self.macs = self._flops // 2
        return result


@functools.cache
def _is_fused(packet: Any) -> bool:
    return 'attention' in str(packet) or 'transformer' in str(packet)


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
