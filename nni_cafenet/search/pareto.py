"""The Pareto front of cost and fitness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ['pareto_front']

_Numbers = Sequence[float] | npt.NDArray[Any]


def pareto_front(cost: _Numbers, fitness: _Numbers) -> npt.NDArray[np.bool_]:
    """Return a mask of the points that no other point dominates.

    A point is dominated if another one costs no more and is at least as fit, and is better in one of the two. Equal
    points are all on the front or none. A point with a NaN is never on it and dominates nothing. Higher fitness is
    better: pass ``-loss``. Raises ValueError unless both arrays are one-dimensional and of equal length.

    >>> pareto_front([1, 2, 2, 3], [0.5, 0.6, 0.7, 0.7]).tolist()
    [True, False, True, False]
    """
    cost, fitness = np.asarray(cost, dtype=float), np.asarray(fitness, dtype=float)
    if cost.ndim != 1 or cost.shape != fitness.shape:
        raise ValueError(
            f'cost and fitness must be one-dimensional and of one length, not of the shapes {cost.shape}, {fitness.shape}'
        )
    front = np.zeros(cost.shape, dtype=bool)
    known = np.flatnonzero(~(np.isnan(cost) | np.isnan(fitness)))
    if not known.size:
        return front
    levels, level = np.unique(cost[known], return_inverse=True)
    best = np.full(levels.shape, -np.inf)  # the best fitness at each cost
    np.maximum.at(best, level, fitness[known])
    better_than_cheaper = np.ones(levels.shape, dtype=bool)
    better_than_cheaper[1:] = best[1:] > np.maximum.accumulate(best)[:-1]
    front[known] = (fitness[known] == best[level]) & better_than_cheaper[level]
    return front
