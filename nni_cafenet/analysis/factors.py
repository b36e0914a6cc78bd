"""Which axis of a reshape can still change, where several could: decided for all reshapes of a model together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .constraints import Constraints, Factors, Ids, Way

__all__ = ['solved_factors']

_MOST_ROUNDS = 4
"""Rounds in which what is decided already decides more."""


def solved_factors(constraints: Constraints, preferred: Callable[[int], int]) -> Way:
    """Return what the reshapes of a model state once one axis of each is picked.

    An axis that other operators fix is never picked. Of several that could change, it is one that another reshape has
    picked, or the preferred one, or the largest; the others keep their sizes, in all reshapes that they take part in.

    Parameters
    ----------
    constraints
        All other statements.
    preferred
        Returns which axis of ``after`` a reshape prefers, by its number in `Constraints.factors`.
    """
    pairs: list[tuple[Ids, Ids]] = []
    fixed: list[tuple[Ids, str]] = []
    left = list(enumerate(constraints.factors))
    for _ in range(_MOST_ROUNDS):
        state = _Fixed(constraints, pairs, fixed)
        found = [number for number, factors in left if _solve(factors, state, pairs, fixed)]
        left = [each for each in left if each[0] not in found]
        if not found or not left:
            break
    state = _Fixed(constraints, pairs, fixed)
    for number, factors in left:
        reason = f'keeps the size that {factors.operator} splits it into, or merges it with'
        for axes, first in ((factors.after, preferred(number)), (factors.before, None)):
            free = {axis: np.unique(axes[axis]) for axis in range(len(axes)) if state.is_free(axes[axis])}
            if len(free) > 1:
                picked = max(free, key=lambda axis: (state.is_picked(free[axis]), axis == first, len(free[axis])))
                state.pick(free.pop(picked))
                for dim in free.values():
                    state.fix(dim)
                    fixed.append((dim, reason))
        _solve(factors, state, pairs, fixed)
    return Way(tuple(pairs), tuple(fixed))


class _Fixed:
    """Which positions never change, as far as that is known."""

    def __init__(
        self, constraints: Constraints, pairs: Sequence[tuple[Ids, Ids]], fixed: Sequence[tuple[Ids, str]]
    ) -> None:
        self.component = constraints.component_of(pairs)
        self.fixed: NDArray[np.bool_] = np.zeros(constraints.count, dtype=bool)
        self.picked = self.fixed.copy()
        for dim, _ in [*constraints.fixed, *fixed]:
            self.fix(dim)

    def fix(self, dim: Ids) -> None:
        self.fixed[self.component[dim]] = True

    def pick(self, dim: Ids) -> None:
        self.picked[self.component[dim]] = True

    def is_picked(self, dim: Ids) -> bool:
        return bool(self.picked[self.component[dim]].any())

    def is_free(self, dim: Ids) -> bool:
        return not bool(self.fixed[self.component[dim]].all())


def _solve(factors: Factors, state: _Fixed, pairs: list[tuple[Ids, Ids]], fixed: list[tuple[Ids, str]]) -> bool:
    """State what a reshape ties if at most one axis before and after it is free; False if more are."""
    before = [axis for axis in factors.before if state.is_free(axis)]
    after = [axis for axis in factors.after if state.is_free(axis)]
    if len(before) > 1 or len(after) > 1:
        return False
    if before and after:
        both = np.unique(np.stack([before[0], after[0]]), axis=1)
        pairs.append((both[0], both[1]))
        return True
    for axis in (*before, *after):
        state.fix(axis)
        fixed.append((np.unique(axis), f'meets a dimension of fixed size in {factors.operator}'))
    return True
