"""The uniformly scaled network of a budget: what any search has to beat."""

from __future__ import annotations

import numpy as np

from .budget import Budget, IntArray

__all__ = ['uniform_within']


def uniform_within(budget: Budget) -> dict[str, int]:
    """Scale every group alike, as wide as a budget allows.

    Widths are the full ones times one ratio, rounded to whole channels (1 or more); bins play no part. What is left of the
    budget then goes to the groups in turn, a channel each, so that networks are compared at equal cost.

    Raises
    ------
    ValueError
        If even one channel a group costs more.
    """
    labels = list(budget.domain.choices)
    full: IntArray = np.array([budget.domain.full_widths[label] for label in labels], np.int64)
    scaled = np.maximum(np.rint(np.linspace(1, 0, 2001)[:, None] * full), 1).astype(np.int64)
    fits = np.flatnonzero(budget.allows(scaled))
    if len(fits) == 0:
        raise ValueError(f'{budget.describe()} allows no uniformly scaled network: one channel a group costs more.')
    widths = scaled[fits[0]]
    for index in range(len(full)):
        wider = widths + (np.arange(len(full)) == index)
        if widths[index] < full[index] and budget.allows(wider[None])[0]:
            widths = wider
    return dict(zip(labels, widths.tolist()))
