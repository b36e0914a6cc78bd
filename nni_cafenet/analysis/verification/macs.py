"""Count multiply-accumulates as torch's own counter does, attention and fused recurrent kernels included."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

__all__ = ['CountedForwards', 'PassingCounter', 'flop_counter', 'without_fused_attention']


def _flops_of_rows(x: Any, matrices: Iterable[Any]) -> int:
    """Count the products of every row of an input with matrices; given as tensors or as shapes."""
    rows, *weights = (tuple(getattr(each, 'shape', each)) for each in (x, *matrices))
    return 2 * math.prod(rows[:-1]) * sum(math.prod(weight) for weight in weights if len(weight) == 2)


_FUSED_RECURRENT: dict[Any, Callable[..., int]] = {
    torch.ops.aten.mkldnn_rnn_layer: lambda x, of_input, of_hidden, *_, **__: _flops_of_rows(x, (of_input, of_hidden)),
    torch.ops.aten._cudnn_rnn: lambda x, weights, *_, **__: _flops_of_rows(x, weights),
    torch.ops.aten.miopen_rnn: lambda x, weights, *_, **__: _flops_of_rows(x, weights),
}
"""Formulas of kernels that torch's counter does not see: an LSTM in float32 on the CPU, recurrent layers on CUDA."""


def _flops_of_attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Count the two products of attention, (batch, heads, rows, channels), as without a fused kernel."""
    return 2 * math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def flop_counter() -> FlopCounterMode:
    """Return torch's counter; this one sees fused recurrent kernels, too."""
    return FlopCounterMode(display=False, custom_mapping=_FUSED_RECURRENT)


class PassingCounter(TorchDispatchMode):
    """Count the MACs of a forward that is run anyway, as `flop_counter` does.

    Faster than ``FlopCounterMode``, which also follows modules and looks for decompositions of every operator.

    Attributes
    ----------
    macs : int or None
        Half of the flops of the same calls; None if a fused kernel of a whole layer of attention ran, whose products not
        every release of torch counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs: int | None = 0
        self._flops = 0

    def __torch_dispatch__(self, func: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        packet = func._overloadpacket
        if _is_product_of_attention(packet):
            self._flops += _flops_of_attention(*args, **kwargs)
            self.macs = None if self.macs is None else self._flops // 2
        elif _is_fused(packet):
            self.macs = None
        elif self.macs is not None and (packet in flop_registry or packet in _FUSED_RECURRENT):
            formula = flop_registry.get(packet) or _FUSED_RECURRENT[packet]
            self._flops += formula(*args, **kwargs, out_val=result)
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
def _is_product_of_attention(packet: Any) -> bool:
    return '_scaled_dot_product_' in str(packet) and 'backward' not in str(packet)


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
