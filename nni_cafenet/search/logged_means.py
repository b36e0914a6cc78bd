"""Means over held-out batches, of losses and of logged values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..supernet import LogCalls

__all__ = ['Logged', 'Mean', 'batch_size']


class Mean:
    """The mean over batches, weighted by their samples.

    Tensors become numbers only at the end, so that a GPU need not synchronize after each batch.
    """

    def __init__(self) -> None:
        self._values: list[tuple[Any, int]] = []

    def add(self, value: Any, samples: int) -> None:
        """Add the value of a batch; the tensor may be overwritten afterwards."""
        self._values.append((value.clone() if isinstance(value, Tensor) else value, samples))

    def value(self) -> float:
        """Return the mean; NaN without batches."""
        return _mean(self._values)

    def parts(self, most: int = 8) -> tuple[float, ...]:
        """Return the means of at most ``most`` parts, each of every ``most``-th batch."""
        return tuple(_mean(self._values[first::most]) for first in range(min(most, len(self._values))))


def _mean(values: Sequence[tuple[Any, int]]) -> float:
    samples = sum(each for _, each in values)
    return sum(float(value) * each for value, each in values) / samples if samples else math.nan


class Logged:
    """Values that a validation step logs: means of numbers, results of torchmetrics."""

    def __init__(self) -> None:
        self._means: dict[str, Mean] = {}
        self._metrics: dict[str, Any] = {}

    @staticmethod
    def values_in(calls: LogCalls) -> dict[str, Any]:
        """Return ``{name: value}`` of calls of ``self.log``."""
        return {
            (args[0] if args else kwargs['name']): (args[1] if len(args) > 1 else kwargs['value'])
            for args, kwargs in calls.calls
        }

    def add(self, calls: LogCalls, samples: int) -> None:
        """Add the logged values of a batch."""
        for name, value in self.values_in(calls).items():
            if hasattr(value, 'compute'):
                self._metrics[name] = value
            else:
                self._means.setdefault(name, Mean()).add(value, samples)

    def mean(self, name: str) -> Mean | None:
        """Return the mean of a logged number; None if none has this name."""
        return None if name in self._metrics else self._means.get(name)

    def value(self, name: str) -> float:
        """Return a metric; a ValueError if it was not logged."""
        if name in self._metrics:
            value = float(self._metrics[name].compute())
            self._metrics[name].reset()
            return value
        if name in self._means:
            return self._means[name].value()
        known = sorted({*self._means, *self._metrics})
        raise ValueError(
            f"score={name!r}: the evaluator's validation_step logs no such metric. "
            f"It logs {', '.join(known) or 'nothing'}; or use score='loss'."
        )


def batch_size(batch: Any) -> int:
    """Return the number of samples of a batch.

    It is dimension 0 of the first tensor, or the length of a list of samples; else 1. Detectors take a list of pictures
    and a list of mappings, one per picture.
    """
    if isinstance(batch, (tuple, list)) and batch and isinstance(batch[-1], (tuple, list)):
        samples = batch[-1]
        if samples and all(isinstance(each, Mapping) for each in samples):
            return len(samples)
    for leaf in torch.utils._pytree.tree_leaves(batch):
        if isinstance(leaf, Tensor) and leaf.dim() > 0:
            return int(leaf.shape[0])
    return 1
