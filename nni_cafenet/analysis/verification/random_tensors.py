"""Random tensors whose entries are all one number, and the random entries that they have where entries matter.

Noise that is added or multiplied is one number, so that it does not depend on a width. Where random numbers decide an order
(``torch.rand(n).argsort()``) or mix (``x @ torch.randn(n, n)``), they get entries of their own: an order, or a mixing, of
equal numbers would leave nothing to find.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...utils import map_tensors, tensors_in

__all__ = ['RandomTensors']

_ORDERS = frozenset({'argsort', 'msort', 'sort', 'topk'})
_PRODUCTS = frozenset(
    'matmul __matmul__ __rmatmul__ mm bmm mv addmm addmv baddbmm addbmm chain_matmul linear bilinear einsum tensordot '
    'dot vdot inner conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d'.split()
)
_NEW = frozenset('new_empty new_full new_ones new_zeros empty_like full_like ones_like zeros_like'.split())

_PLAIN = (bool, int, float, str, slice, torch.dtype, torch.device, torch.Size)


class RandomTensors:
    """What random tensors, and tensors computed from them and from constants alone, would be with entries of their own.

    Attributes
    ----------
    used : bool
        Whether random numbers decided an order, or mixed.
    """

    def __init__(self) -> None:
        self.used = False
        self._drew = False
        self._entries: dict[int, tuple[Tensor, Tensor]] = {}  # the tensor is kept, so that no other gets its id

    def clear(self) -> None:
        """Forget all tensors."""
        self._entries.clear()

    def order(self, length: int, seed: int) -> Tensor:
        """Return a random order of some positions."""
        self.used = True
        return torch.randperm(length, generator=torch.Generator().manual_seed(1_000_003 * length + seed))

    def add(self, tensor: Tensor, seed: int) -> None:
        """Give a random tensor entries; they depend on its shape and the seed."""
        generator = torch.Generator().manual_seed(seed)
        entries = torch.rand(tensor.shape, generator=generator).to(tensor.device)
        self._entries[id(tensor)] = tensor, entries.to(tensor.dtype) if tensor.is_floating_point() else tensor
        self._drew = True

    def call(self, function: Callable[..., Any], name: str, args: Any, kwargs: Any) -> Any:
        """Call a function of torch; random tensors that it is given have entries of their own where these matter."""
        if not self._entries and args and isinstance(args[0], Tensor) and name not in _NEW:
            return function(*args, **kwargs)
        tensors = [] if name in _NEW else _tensors_given(args, kwargs)
        known = [self._entries.get(id(tensor)) for tensor in tensors]
        random = any(entry is not None and entry[0] is not entry[1] for entry in known)
        if name in _ORDERS and tensors and self._drew and (random or _is_constant(tensors[0])):
            return self._ordered(function, args, kwargs)
        if name in _PRODUCTS and random:
            self.used = True
            return function(*self._with_entries(args), **self._with_entries(kwargs))
        if None in known:
            if _writes(name) and args:
                self._entries.pop(id(args[0]), None)
            return function(*args, **kwargs)
        if random and _writes(name) and known[0] is not None and known[0][0] is known[0][1]:
            self._entries[id(tensors[0])] = tensors[0], tensors[0].clone()
        others = tensors_in(self._on_entries(function, args, kwargs)) if random else None
        result = function(*args, **kwargs)
        found = [result] if isinstance(result, Tensor) else tensors_in(result)
        for tensor, other in zip(found, found if others is None else others):
            self._entries[id(tensor)] = tensor, other
        return result

    def _on_entries(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        with contextlib.suppress(RuntimeError, ValueError, IndexError):  # other values may be bad input
            return function(*self._with_entries(args), **self._with_entries(kwargs))

    def _ordered(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        x = args[0] if args else kwargs['input']
        self.used = True
        if id(x) not in self._entries:
            self.add(x, x.numel())
        return function(*self._with_entries(args), **self._with_entries(kwargs))

    def _with_entries(self, structure: Any) -> Any:
        return map_tensors(lambda tensor: self._entries.get(id(tensor), (tensor, tensor))[1], structure)


def _tensors_given(args: Any, kwargs: Any) -> list[Tensor]:
    """Return the tensors among arguments, in order."""
    tensors: list[Tensor] = []
    for argument in (*args, *kwargs.values()):
        if isinstance(argument, Tensor):
            tensors.append(argument)
        elif argument is not None and not isinstance(argument, _PLAIN):  # walking a tree is slow
            tensors += tensors_in(argument)
    return tensors


def _is_constant(x: Tensor) -> bool:
    return x.is_floating_point() and not x.is_meta and x.numel() > 1 and bool((x == x.reshape(-1)[0]).all())


def _writes(name: str) -> bool:
    """Whether a function of this name changes its first argument."""
    return (name.endswith('_') and not name.endswith('__')) or name == '__setitem__' or name.startswith('__i')
