"""The lists of Python numbers that a model indexes with: operators see tensors without values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ['HeldLists']


class HeldLists(TorchFunctionMode):
    """Notes which tensors are made of lists of whole numbers in this block.

    Attributes
    ----------
    made : list
        Pairs of a tensor and its list.
    """

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[Tensor, Any]] = []

    def __torch_function__(self, function: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        if function in (Tensor.__getitem__, Tensor.__setitem__):
            index = args[1]
            index = tuple(map(self._tensor, index)) if isinstance(index, tuple) else self._tensor(index)
            args = (args[0], index, *args[2:])
        result = function(*args, **(kwargs or {}))
        if function in (torch.tensor, torch.as_tensor) and _is_list(args[0]):
            self.made.append((result, args[0]))
        return result

    def _tensor(self, index: Any) -> Any:
        if not _is_list(index):
            return index
        self.made.append((torch.tensor(index), index))
        return self.made[-1][0]


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and {type(number) for number in value} == {int}
