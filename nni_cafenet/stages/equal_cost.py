"""Widths scored in addition to the searcher's: random ones at the cost of the budget, and fuller versions of the best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..search import (
    Budget,
    Headroom,
    History,
    LevelSpace,
    Proposals,
    Scored,
    filled,
    headroom_of,
    sample_within,
    uniform_levels,
)
from ..space import WidthSpace

__all__ = ['EqualCost', 'default_drawn', 'one_batch']

_MOST = 200
"""Default limit of random widths."""

_FEWEST = 20
"""With a smaller default number, none are drawn and the searcher's widths are used instead."""

_BAND = 0.95
"""Minimum share of the budget that widths at its cost use."""

_VERSIONS = 8
"""Fuller versions scored for each returned width."""


def default_drawn(total: int) -> int:
    """Return the default number of random widths for ``total`` proposals: a tenth, at most 200, and none below 20."""
    few = min(total // 10, _MOST)
    return few if few >= _FEWEST else 0


class EqualCost:
    """Widths whose cost is close to the budget.

    ``total`` is the number of widths that the searcher proposes, ``drawn`` that of random widths; by default
    `default_drawn`.
    """

    def __init__(
        self, space: WidthSpace, budget: Budget, *, name: str | None, total: int, drawn: int | None, seed: int
    ) -> None:
        self.space = space
        self.budget = budget
        self.name = name
        self._seed = seed
        self._drawn = default_drawn(total) if drawn is None else drawn
        self._most_fuller = total // 10

    @property
    def uniform(self) -> dict[str, int]:
        """The widths of the uniformly scaled network."""
        levels = LevelSpace(self.space, self.budget)
        return levels.as_dicts(uniform_levels(levels)[None])[0]

    def drawn(self) -> list[dict[str, int]]:
        """Return the uniform network and random widths at the cost of the budget; empty if none are requested."""
        if not self._drawn:
            return []
        rng = np.random.default_rng([self._seed, 3])
        rows = sample_within(self.space, self.budget, self._drawn, rng, floor=_BAND)
        uniform = self.uniform
        others = [self.space.to_widths(row) for row in rows.tolist()]
        return [uniform, *(widths for widths in others if widths != uniform)]

    def fuller(self, best: Sequence[Scored]) -> list[dict[str, int]]:
        """Return wider versions of the best widths that leave more than 2 % of the budget unused."""
        count = min(_VERSIONS * len(best), self._most_fuller)
        rng = np.random.default_rng([self._seed, 4])
        return filled(self.space, self.budget, [each.widths for each in best], count, rng)

    def headroom(self, history: History, best: Scored | None, score: str) -> Headroom | None:
        """Compare the uniform network with scored widths of equal cost; None if there are too few."""
        uniform = self.uniform
        if uniform not in history:
            return None
        drawn = [history[widths] for widths in self.drawn() if widths in history]
        return headroom_of(
            history[uniform],
            drawn or self._in_band(history),
            best=best,
            higher_is_better=history.higher_is_better,
            score=score,
            budget=self.name,
            drawn=bool(drawn),
        )

    def _in_band(self, history: History) -> list[Scored]:
        records = list(history)
        rows = np.array([[each.widths[label] for label in self.space.labels] for each in records])
        usage = self.budget.usage(rows.reshape(len(records), len(self.space.labels)))
        return [each for each, share in zip(records, usage) if _BAND <= share <= 1]


def one_batch(widths: list[dict[str, int]]) -> Proposals:
    """Propose all widths in one batch, regardless of scores."""
    if widths:
        yield widths
