"""How well an order of widths agrees with the ground truth: the columns of ranking.py's tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proof.figures import Floats, tau

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Truth:
    """Means over the training seeds, one number a width."""

    accuracy: Floats
    loss: Floats
    band: Bools


def regret(goodness: Floats, accuracy: Floats) -> float:
    """Return how many percentage points below the best the width with the best score is; the mean of equal ones."""
    return 100 * float(accuracy.max() - accuracy[goodness == goodness.max()].mean())


COLUMNS: dict[str, Callable[[Floats, Truth], float]] = {
    'tau, accuracy': lambda g, t: tau(g, t.accuracy),
    'tau, loss': lambda g, t: tau(g, -t.loss),
    'tau in band, accuracy': lambda g, t: tau(g[t.band], t.accuracy[t.band]),
    'tau in band, loss': lambda g, t: tau(g[t.band], -t.loss[t.band]),
    'regret': lambda g, t: regret(g, t.accuracy),
    'regret in band': lambda g, t: regret(g[t.band], t.accuracy[t.band]),
}
"""Columns of the table, as functions of the goodness of widths (higher is better) and the ground truth."""


def measure(goods: Sequence[Floats], truth: Truth) -> dict[str, list[float]]:
    """Return the value of every column, for each of some orders."""
    return {column: [function(good, truth) for good in goods] for column, function in COLUMNS.items()}


def agreement(
    pairs: Iterable[tuple[Sequence[int], Sequence[int]]], accuracy: Floats, loss: Floats, band: Bools
) -> dict[str, list[float]]:
    """Return the value of every column for the order that some training seeds give, with others as the ground truth."""
    result: dict[str, list[float]] = {column: [] for column in COLUMNS}
    for some, others in pairs:
        truth = Truth(accuracy[:, others].mean(1), loss[:, others].mean(1), band)
        for column, function in COLUMNS.items():
            good = -loss[:, some].mean(1) if 'loss' in column else accuracy[:, some].mean(1)
            result[column].append(function(good, truth))
    return result


def halves(count: int) -> Iterator[tuple[list[int], list[int]]]:
    """Yield every way to cut seeds into two halves, once."""
    for half in itertools.combinations(range(count), count // 2):
        if count % 2 or half[0] == 0:
            yield list(half), [i for i in range(count) if i not in half]


def spread(values: Sequence[float], sign: str = '-') -> str:
    """Write mean and standard deviation."""
    if not values:
        return '-'
    mean = f'{np.mean(values):{sign}.3f}'
    return mean if len(values) == 1 else f'{mean} ± {np.std(values, ddof=1):.3f}'
