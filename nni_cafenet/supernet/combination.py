"""Combining the losses of several channel sets: minimum, mean or soft minimum."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..utils import check_number

__all__ = ['Combination', 'Mean', 'Min', 'SoftMin']


class Combination(ABC):
    """A rule that weights the losses of the channel sets of a step."""

    @abstractmethod
    def weights(self, losses: Sequence[float]) -> list[float]:
        """Return the weight of each loss; weights sum to 1, and NaN has weight 0."""

    @staticmethod
    def of(value: Any) -> Combination:
        """Return the rule named ``'min'``, ``'mean'`` or ``'softmin'``, or the rule given; a ValueError otherwise."""
        if isinstance(value, Combination):
            return value
        named = {'min': Min, 'mean': Mean, 'softmin': SoftMin}
        if not isinstance(value, str) or value not in named:
            raise ValueError(f"combine={value!r} must be 'min', 'mean', 'softmin' or SoftMin(temperature=...).")
        return named[value]()


@dataclass(frozen=True)
class Min(Combination):
    """The smallest loss (min-min training, Su et al. 2021). Keeps at most two graphs."""

    def weights(self, losses: Sequence[float]) -> list[float]:
        """Return 1 for the smallest loss, the first of equal ones."""
        best = min(range(len(losses)), key=lambda i: math.inf if math.isnan(losses[i]) else losses[i])
        return [float(i == best) for i in range(len(losses))]


@dataclass(frozen=True)
class Mean(Combination):
    """The mean: no winner's curse. Keeps a graph of each channel set."""

    def weights(self, losses: Sequence[float]) -> list[float]:
        """Return equal weights."""
        known = [not math.isnan(loss) for loss in losses]
        return [float(each) / max(sum(known), 1) for each in known]


@dataclass(frozen=True)
class SoftMin(Combination):
    """The gradient of the soft minimum ``-t log mean exp(-loss / t)``: weights ``softmax(-loss / t)``.

    Keeps a graph of each channel set.

    Parameters
    ----------
    temperature
        t, in units of the loss: near 0 it is the minimum, large the mean.

    Raises
    ------
    ValueError
        If ``temperature`` is not above 0.
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        check_number('temperature', self.temperature, 0, open=True)

    def weights(self, losses: Sequence[float]) -> list[float]:
        """Return the softmax."""
        scaled = np.array([-math.inf if math.isnan(loss) else -loss / self.temperature for loss in losses])
        if not np.isfinite(scaled).any():
            return [0.0] * len(losses)
        shares = np.exp(scaled - scaled.max())
        return [float(each) for each in shares / shares.sum()]
