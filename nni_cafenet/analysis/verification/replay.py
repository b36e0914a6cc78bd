"""Replay the decisions of one run of a model in another, so that their outputs can be compared.

A detector keeps the boxes with the best scores. If two scores are almost equal, rounding decides which box is kept. A
decision is an operator with floating-point inputs and integer or boolean results: a sort, an argmax, a comparison.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

__all__ = ['Decision', 'OpReplay']

_ALONG = {'topk': 2, 'kthvalue': 2, 'sort': 1, 'max': 1, 'min': 1, 'median': 1, 'mode': 1, 'cummax': 1, 'cummin': 1}
"""Operators that return values and positions along a dimension, and the index of that argument."""


@dataclass(frozen=True)
class Decision:
    """The integer and boolean results of an operator for inputs of given shapes."""

    operator: str
    shapes: list[torch.Size]
    chosen: list[Tensor]


class OpReplay(TorchFunctionMode):
    """Record the decisions of a run, or repeat those ``taken`` by another, in order.

    From the first decision that does not fit (another operator, other shapes) on, the run takes its own.

    Attributes
    ----------
    taken
        The decisions of this run.
    """

    def __init__(self, taken: Sequence[Decision] = ()) -> None:
        super().__init__()
        self.taken: list[Decision] = []
        self._given = list(taken)

    def __torch_function__(self, function: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        leaves, tree = pytree.tree_flatten(result)
        chosen = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not _real(leaf)]
        inputs = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if not chosen or not any(_real(leaf) for leaf in inputs):
            return result
        name = getattr(function, '__name__', str(function))
        decision = Decision(name, [leaf.shape for leaf in inputs], chosen)
        if self._given:
            own, decision = decision, self._given.pop(0)
            if (decision.operator, decision.shapes) != (own.operator, own.shapes):
                self._given.clear()
                return result
            repeated = iter(decision.chosen)
            leaves = [next(repeated) if isinstance(leaf, Tensor) and not _real(leaf) else leaf for leaf in leaves]
            if name in _ALONG and len(leaves) == 2:
                leaves[0] = _values(args, kwargs, _ALONG[name], leaves[1])
            result = pytree.tree_unflatten(leaves, tree)
        self.taken.append(decision)
        return result


def _real(value: Any) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def _values(args: Any, kwargs: Any, place: int, positions: Tensor) -> Tensor:
    """Return the values at given positions along the dimension of an operator."""
    axis = kwargs.get('dim', args[place] if len(args) > place and type(args[place]) is int else -1)
    if positions.dim() == args[0].dim():
        return torch.take_along_dim(args[0], positions, axis)
    return torch.take_along_dim(args[0], positions.unsqueeze(axis), axis).squeeze(axis)
