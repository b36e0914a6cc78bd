"""Widths by a knapsack: the most important channels that a budget can hold, without any scores."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import truncated
from .budget import Budget, FloatArray, IntArray, WidthDomain
from .knapsack_solver import most_valuable
from .sampling import LevelSpace
from .searcher import Proposals, Searcher, read_fitness

__all__ = ['Knapsack']

_OBJECTIVES = ('noise', 'sum')
_DIGITS = 6  # of importance: sums in another order give the same widths
_LEAST_KEPT = 1e-6  # share of a group's importance


class Knapsack(Searcher):
    """The widths of the most important channels that a budget can hold: one proposal, without any scores.

    The leading channels of every group are kept, so sort them first (`nni_cafenet.order_channels`). Costs are exact, and
    the budget is filled: no group of the result can grow by another bin. Nothing is random, and it takes seconds.

    Parameters
    ----------
    importance : {label: numbers}
        The importance of each channel of a group, in the order of its channels, 0 or more (see `nni_cafenet.importance`).
    objective : {'noise', 'sum'}
        What is optimized over all groups.

        - ``'noise'`` (default): the least sum over groups of the importance that is removed, divided by what is kept, times
          the mean importance of the group (with ``normalize='layer'`` the number of its layers). So the last channels of a
          group are worth far more than the first ones that leave. Our choice;
        - ``'sum'``: the largest sum of the importance that is kept, as in knapsack pruning (Aflalo et al. 2020; Shen et
          al. 2022). It needs numbers that compare between groups: ``'taylor'``, or `Sensitivity.importance`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed; when the search starts, if numbers of a group are missing.

    Notes
    -----
    MACs are products of widths, so this is no plain knapsack. At a point, all groups but one are fixed to price the levels
    of that one exactly; the multiple-choice knapsack of these prices is solved for many amounts of cost by dynamic
    programming, and the best solution within the exact budget is the next point, until none is better. Then pairs of groups
    exchange bins while that is better. Tests compare it with all widths of small spaces.

    Examples
    --------
    >>> order_channels(space, importance(space, 'group'))
    >>> knapsack = Knapsack(importance(space, 'group'))
    >>> knapsack.widths(space, '50%')
    """

    def __init__(self, importance: Mapping[str, Sequence[float]], *, objective: str = 'noise') -> None:
        self.importance = _checked(importance)
        if objective not in _OBJECTIVES:
            raise ValueError(f'objective={objective!r} must be one of {", ".join(_OBJECTIVES)}.')
        self.objective = objective

    @property
    def total(self) -> int:
        """The number of proposed widths: 1."""
        return 1

    def propose(self, domain: WidthDomain, budget: Budget, rng: np.random.Generator) -> Proposals:
        """Run a search; see :meth:`Searcher.propose`. Scores are ignored, and nothing is drawn."""
        read_fitness((yield [self.widths(domain, budget)]), 1)

    def widths(self, domain: WidthDomain, budget: Any) -> dict[str, int]:
        """Return the widths ``{label: channels}`` of a space within a budget, such as ``'50%'`` (see `CafeNet`).

        Raises ValueError if the budget is out of reach, or numbers of a group are missing.
        """
        space = LevelSpace(domain, budget if isinstance(budget, Budget) else Budget.parse(budget, domain))
        return space.as_dicts(self.levels(space)[None])[0]

    def levels(self, space: LevelSpace) -> IntArray:
        """Return the levels (groups,) of these widths."""
        return most_valuable(space, self._values(space))

    def _values(self, space: LevelSpace) -> FloatArray:
        """Return the value (groups, levels) of each level; -inf beyond the last one."""
        missing = sorted(map(str, set(space.labels) - set(self.importance)))
        if missing:
            raise ValueError(f'importance: no numbers for {truncated(", ".join(missing))}; give those of every group')
        table: FloatArray = np.full((len(space.labels), int(space.counts.max(initial=1))), -np.inf)
        for row, label, choices in zip(table, space.labels, space.budget.domain.choices.values()):
            numbers = self.importance[label]
            if len(numbers) < choices[-1]:
                raise ValueError(
                    f'importance[{label!r}] has {len(numbers)} numbers; give one for each of its channels, of which widths '
                    f'have up to {choices[-1]}'
                )
            kept = np.concatenate([[0.0], np.cumsum(numbers)])
            row[: len(choices)] = self._value(kept)[list(choices)]
        return table

    def _value(self, kept: FloatArray) -> FloatArray:
        """Return the value of each number of channels, at their total importance."""
        if self.objective == 'sum' or kept[-1] == 0:
            return kept
        share = kept / kept[-1]
        noise: FloatArray = kept[-1] / (len(kept) - 1) * (1 - share) / np.maximum(share, _LEAST_KEPT)
        return -noise

    def __repr__(self) -> str:
        content = hashlib.sha256(json.dumps(self.importance, sort_keys=True).encode()).hexdigest()[:8]
        return f'Knapsack({len(self.importance)} groups [{content}], objective={self.objective!r})'


def _checked(importance: Any) -> dict[str, list[float]]:
    if not isinstance(importance, Mapping):
        raise TypeError(f'importance: {type(importance).__name__} must be {{label: one number a channel}}.')
    found = {}
    for label, given in importance.items():
        try:
            numbers = [float(each) for each in given]
        except (TypeError, ValueError) as error:
            raise TypeError(f'importance[{label!r}] must be numbers, one a channel ({error}).') from error
        wrong = next((each for each in numbers if not math.isfinite(each) or each < 0), None)
        if wrong is not None:
            raise ValueError(f'importance[{label!r}] has {wrong}; give finite numbers, 0 or more.')
        found[label] = [float(f'{each:.{_DIGITS}g}') for each in numbers]
    return found
