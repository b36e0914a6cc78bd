"""Fit the temperature of a score, a divisor of the logits; `Scorer.temperature` says when it is fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

__all__ = ['FIT_GRID', 'TEMPERATURES', 'fit_temperature']

TEMPERATURES = (1.0, 2.0, 3.0)
"""Temperatures at which every score is recorded beside its own, from one forward."""

FIT_GRID = tuple(2.0 ** (step / 2) for step in range(-6, 7))
"""Temperatures between which the fitted one lies, in steps of sqrt(2).

A supernet that is not trained enough fits at 0.7, a healthy one at 0.9, one that memorized its training images at 2.
"""


_NEIGHBORS = 2


def fit_temperature(losses: Mapping[float, float]) -> tuple[float, float]:
    """Return the temperature with the smallest loss, and that loss.

    A cross-entropy at this temperature does not depend on the scale of the logits. Weight sharing sets that scale: it grows
    with the inputs of the last layer, and with how well the supernet knows its training images, which says nothing of how
    well a network of these widths learns on its own.

    Parameters
    ----------
    losses
        ``{temperature: loss}`` at `FIT_GRID`. Between its points the loss is a polynomial in the logarithm of the
        temperature, through the smallest loss and up to two neighbors on either side: within 0.001 of the smallest loss.

    Returns
    -------
    Temperature and loss, both NaN if a loss is. The temperature lies within the grid.
    """
    temperatures = sorted(losses)
    values = [losses[each] for each in temperatures]
    if any(map(math.isnan, values)):
        return math.nan, math.nan
    best = int(np.argmin(values))
    window = slice(max(0, best - _NEIGHBORS), best + _NEIGHBORS + 1)
    if not all(map(math.isfinite, values[window])):
        return temperatures[best], values[best]
    x = np.log(temperatures)
    curve = np.polynomial.Polynomial.fit(x[window], values[window], len(values[window]) - 1)
    flat = [float(root.real) for root in curve.deriv().roots() if abs(root.imag) < 1e-9]
    between = [root for root in flat if x[max(0, best - 1)] < root < x[min(best + 1, len(x) - 1)]]
    lowest = min([*between, float(x[best])], key=curve)
    return float(np.exp(lowest)), float(curve(lowest))
