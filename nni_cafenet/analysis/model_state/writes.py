"""The values of tensors, noted before a forward writes to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ['BeforeWrites', 'memory_of']

_STATISTICS = frozenset({'aten::native_batch_norm', 'aten::cudnn_batch_norm', 'aten::miopen_batch_norm'})
"""Operators that write running statistics, their arguments 3 and 4, without saying so."""


class BeforeWrites(TorchDispatchMode):
    """Calls a function with each tensor that an operator is about to write to."""

    def __init__(self, before_write: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._before_write = before_write

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        schema = func._schema
        if schema.is_mutable:
            given = {**{a.name: value for a, value in zip(schema.arguments, args)}, **kwargs}
            for argument in schema.arguments:
                if argument.alias_info is not None and argument.alias_info.is_write:
                    values = given.get(argument.name)
                    for tensor in values if isinstance(values, (list, tuple)) else [values]:
                        if isinstance(tensor, Tensor):
                            self._before_write(tensor)
        elif schema.name in _STATISTICS:
            for tensor in args[3:5]:
                if isinstance(tensor, Tensor):
                    self._before_write(tensor)
        return func(*args, **kwargs)


def memory_of(tensor: Tensor) -> int:
    """Return a number that tensors share if and only if they share memory."""
    try:
        return tensor.untyped_storage()._cdata
    except (RuntimeError, NotImplementedError):  # tensors without memory of their own
        return -id(tensor)
