"""Means, paired differences and their intervals, as the tables of the proof show them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, t as student

Floats = NDArray[np.float64]


def mean_and_spread(values: Sequence[float], sign: str = '-') -> str:
    """Write a mean and a standard deviation."""
    if not len(values):
        return '-'
    text = f'{np.mean(values):{sign}.2f}'
    return text if len(values) == 1 else f'{text} ± {np.std(values, ddof=1):.2f}'


def interval(differences: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the t-interval of the mean of independent differences; NaN of fewer than two."""
    count = len(differences)
    if count < 2:
        return math.nan, math.nan
    half = float(student.ppf((1 + level) / 2, count - 1)) * float(np.std(differences, ddof=1)) / math.sqrt(count)
    mean = float(np.mean(differences))
    return mean - half, mean + half


def difference_cells(differences: Sequence[float]) -> list[str]:
    """Return the cells of a row: mean difference, 95 % interval, how many are above 0."""
    if not len(differences):
        return ['-', '-', '-']
    low, high = interval(differences)
    above = sum(each > 0 for each in differences)
    return [f'{np.mean(differences):+.2f}', f'{low:+.2f} to {high:+.2f}', f'{above} of {len(differences)}']


def tau(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> float:
    """Return Kendall's tau-b."""
    return float(kendalltau(a, b).statistic)


def ceiling(half: float) -> float:
    """Estimate tau of a perfect score to the mean over all training seeds, from tau between halves of them.

    Spearman and Brown's formula for a test of twice the length, with tau = 2/pi arcsin(r) as for normal values.
    """
    r = max(math.sin(math.pi / 2 * half), 0.0)
    return 2 / math.pi * math.asin(math.sqrt(2 * r / (1 + r)))
