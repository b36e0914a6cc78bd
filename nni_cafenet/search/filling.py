"""Widen the best widths to use up the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .budget import Budget, IntArray, WidthDomain
from .sampling import LevelSpace, move_within, new_rows

__all__ = ['FULL', 'filled', 'is_full']

FULL = 0.98
"""Usage of a budget that counts as full."""

_DRAWS = 4
"""Random candidates per returned width."""


def is_full(budget: Budget, widths: Mapping[str, int]) -> bool:
    """Whether widths use at least 98 % of a budget (of its most used limit)."""
    row = np.array([[widths[label] for label in budget.domain.choices]])
    return bool(FULL <= budget.usage(row)[0] <= 1)


def filled(
    domain: WidthDomain, budget: Budget, best: Sequence[Mapping[str, int]], count: int, rng: np.random.Generator
) -> list[dict[str, int]]:
    """Return up to ``count`` wider versions of the best widths that leave more than 2 % of a budget unused.

    They are distinct; no group of them could grow by another level. Those of better widths come first, equally many of
    each. Of the many ways to grow, chosen at random, those that use the budget to within 2 % are preferred.
    """
    space = LevelSpace(domain, budget)
    allowed = {label: set(choices) for label, choices in domain.choices.items()}
    known = [each for each in best if all(each[label] in allowed[label] for label in space.labels)]
    starts = space.from_dicts(known, 'best')
    starts = starts[space.usage(starts) < FULL]
    if len(starts) == 0 or count < 1:
        return []
    each = -(-count // len(starts))
    chosen, seen = list[IntArray](), {row.tobytes() for row in starts}
    for start in starts:
        rows = move_within(space, np.repeat(start[None], _DRAWS * each, axis=0), 1.0, rng)
        rows = rows[new_rows(rows, seen)]
        chosen.append(rows[np.argsort(space.usage(rows) < FULL, kind='stable')][:each])
    return space.as_dicts(np.concatenate(chosen)[:count])
