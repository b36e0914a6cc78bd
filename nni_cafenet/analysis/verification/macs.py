"""Count multiply-accumulates as torch's own counter does, attention included."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

__all__ = ['CountedForwards', 'PassingCounter', 'without_fused_attention']


class PassingCounter(TorchDispatchMode):
    """Count the MACs of a forward that is run anyway, by the formulas of torch's counter.

    Faster than ``FlopCounterMode``, which also follows modules and looks for decompositions of every operator.

    Attributes
    ----------
    macs : int or None
        ``FlopCounterMode / 2`` of the same calls; None if a fused kernel of attention ran, whose products not every release
        of torch counts.
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


class CountedForwards:
    """MACs of forwards that are run anyway: of the first whole one, and of the first one on slices since `restart`."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._macs: dict[bool, int | None] = {}  # of the whole model, and on slices
        self._sets: Mapping[str, Any] = {}

    def restart(self) -> None:
        """Count the next forward on slices."""
        self._macs.pop(False, None)

    @contextlib.contextmanager
    def counting(self, sets: Mapping[str, Any]) -> Iterator[None]:
        """Count the MACs of a forward on the slices of channel sets, or of the whole model if there are none."""
        whole = not sets
        if not self._enabled or whole in self._macs:
            yield
            return
        with PassingCounter() as counter:
            yield
        self._macs[whole] = counter.macs
        self._sets = sets or self._sets

    def of_one_sample(self) -> list[tuple[Mapping[str, Any], int]]:
        """Return the two counts with their channel sets; nothing unless there are both."""
        whole, part = self._macs.get(True), self._macs.get(False)
        return [] if whole is None or part is None else [({}, whole), (self._sets, part)]


@functools.cache
def _is_fused(packet: Any) -> bool:
    return 'attention' in str(packet) or 'transformer' in str(packet)


@contextlib.contextmanager
def without_fused_attention() -> Iterator[None]:
    """Disable fused kernels of attention, whose products not every release of torch counts."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
