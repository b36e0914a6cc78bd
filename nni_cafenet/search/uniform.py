"""The uniformly scaled network of a budget, the baseline of any search."""

from __future__ import annotations

import math

import numpy as np

from .budget import Budget, IntArray
from .sampling import LevelSpace

__all__ = ['uniform_levels', 'uniform_within']

_RATIOS = np.linspace(1, 0, 2001)[:, None]


def uniform_within(budget: Budget) -> dict[str, int]:
    """Scale every group alike, as wide as a budget allows.

    Widths are the full ones times one ratio, rounded to whole channels, or to multiples of the space's divisor, between
    the smallest and largest width of a group, whatever the bins; in a listed space to the nearest choice. The remaining
    budget then goes to the groups in turn, one channel (or choice) each, so that networks are compared at equal cost.
    Raises ValueError if even the smallest widths cost more.
    """
    if budget.domain.listed:
        space = LevelSpace(budget.domain, budget)
        levels = uniform_levels(space)
        if not budget.allows(space.widths(levels[None]))[0]:
            raise _none_within(budget)
        return space.as_dicts(levels[None])[0]
    labels = list(budget.domain.choices)
    full: IntArray = np.array([budget.domain.full_widths[label] for label in labels], np.int64)
    choices = [budget.domain.choices[label] for label in labels]
    step: IntArray = np.array([math.gcd(*each) for each in choices], np.int64)
    least, most = (np.array([pick(each) for each in choices], np.int64) for pick in (min, max))
    scaled = np.clip(np.rint(_RATIOS * full / step).astype(np.int64) * step, least, most)
    fits = np.flatnonzero(budget.allows(scaled))
    if len(fits) == 0:
        raise _none_within(budget)
    widths = scaled[fits[0]]
    for index in range(len(full)):
        wider = widths + step * (np.arange(len(full)) == index)
        if widths[index] + step[index] <= most[index] and budget.allows(wider[None])[0]:
            widths = wider
    return dict(zip(labels, widths.tolist()))


def _none_within(budget: Budget) -> ValueError:
    return ValueError(f'{budget.describe()} allows no uniformly scaled network: the smallest widths cost more.')


def uniform_levels(space: LevelSpace) -> IntArray:
    """Levels (groups,) of the uniformly scaled network among the allowed widths, as wide as the budget allows.

    Like `uniform_within`, with widths rounded to those that a search may choose.
    """
    scaled = np.stack([space.uniform(float(ratio)) for ratio in np.unique(_RATIOS)[::-1]])
    fits = np.flatnonzero(space.usage(scaled) <= 1)
    levels: IntArray = scaled[fits[0]] if len(fits) else np.zeros(len(space.labels), np.int64)
    for index in range(len(levels)):
        wider = levels + (np.arange(len(levels)) == index)
        if levels[index] < space.counts[index] - 1 and space.usage(wider[None])[0] <= 1:
            levels = wider
    return levels
