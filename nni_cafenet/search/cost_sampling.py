"""Widths of supernet training drawn by cost: near a budget, or uniformly over costs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..options import BudgetSpecs
from ..space import WidthSpace
from ..supernet import WidthSampling, uniform_widths
from ..utils import check_number, check_whole_number
from .budget import Budget
from .sampling import LevelSpace, move_within

__all__ = ['CostBins', 'NearBudget']


@dataclass(frozen=True)
class NearBudget(WidthSampling):
    """Draw a share of the widths just within the budget, where the search samples, and the others uniformly.

    Parameters
    ----------
    share
        Share of the widths near the budget, 0 to 1.
    floor
        Smallest share of the budget that these use.
    budget
        A budget of MACs or parameters, or a list of them, which take turns at random; default: those of the run.
    per_step
        Widths per step.
    """

    share: float = 0.5
    floor: float = 0.8
    budget: Any = None
    per_step: int = 1

    def __post_init__(self) -> None:
        if self.budget is not None:
            object.__setattr__(self, 'budget', BudgetSpecs.of(self.budget))
        check_number('share', self.share, 0, 1)
        check_number('floor', self.floor, 0, 1)
        check_whole_number('per_step', self.per_step, 1)

    def for_budget(self, budget: Any) -> WidthSampling:
        """Return the rule with the budgets of a run if it has none."""
        return self if self.budget is not None else dataclasses.replace(self, budget=budget)

    def check(self, space: WidthSpace) -> None:
        """Raise if the space cannot meet the budget, or it limits only latency."""
        self._budgets(space)

    def draw(self, space: WidthSpace, rng: np.random.Generator) -> list[dict[str, int]]:
        """Draw the widths of a step."""
        budgets, drawn = self._budgets(space), list[dict[str, int]]()
        for _ in range(self.per_step):
            near = rng.random() < self.share
            budget = budgets[int(rng.integers(len(budgets)))]
            drawn.append(_within(space, budget, self.floor, rng) if near else uniform_widths(space, rng))
        return drawn

    def _budgets(self, space: WidthSpace) -> list[Budget]:
        if self.budget is None:
            raise ValueError('width_sampling=NearBudget(): a budget is missing. Give NearBudget(budget=...).')
        budgets = [Budget.check(spec, space) for spec in self.budget]
        for spec, budget in zip(self.budget, budgets):
            if not budget.limits:
                raise ValueError(
                    f'width_sampling=NearBudget(): {spec!r} limits only latency, which is measured later. Give a limit on '
                    "MACs or parameters, such as NearBudget(budget='50%')."
                )
        return budgets


@dataclass(frozen=True)
class CostBins(WidthSampling):
    """Draw every bin of MACs equally often; MACs of uniform widths concentrate in the middle.

    Parameters
    ----------
    number
        Number of equal bins between the MACs of the smallest and the full network.
    per_step
        Widths per step.
    """

    number: int = 8
    per_step: int = 1

    def __post_init__(self) -> None:
        check_whole_number('number', self.number, 1)
        check_whole_number('per_step', self.per_step, 1)

    def draw(self, space: WidthSpace, rng: np.random.Generator) -> list[dict[str, int]]:
        """Draw the widths of a step."""
        least, most = space.macs(dict(space.smallest_widths)), space.macs(dict(space.full_widths))
        drawn = list[dict[str, int]]()
        for _ in range(self.per_step):
            place = int(rng.integers(self.number))
            low, high = (least + (most - least) * each // self.number for each in (place, place + 1))
            budget = Budget({'macs': max(high, least)}, space)
            drawn.append(_within(space, budget, low / max(high, least), rng))
        return drawn


def _within(space: WidthSpace, budget: Budget, floor: float, rng: np.random.Generator) -> dict[str, int]:
    """Draw random widths between a share of a budget and the budget, as far as the space allows."""
    levels = LevelSpace(space, budget)
    rows = rng.integers(0, levels.counts, size=(1, len(levels.labels)))
    target = np.array([rng.uniform(floor, 1)])
    smallest = levels.usage(np.zeros_like(rows))
    return levels.as_dicts(move_within(levels, rows, floor, rng, np.maximum(target, smallest)))[0]
