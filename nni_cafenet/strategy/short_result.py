"""What a search by short trainings found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from nni.nas.space import RawFormatModelSpace
from torch import nn

from ..search import Budget, Scored, widths_key
from ..stages import TrainedFinalist, short_trainings_table
from .result import RunResult, uniform_kept

__all__ = ['ShortResult']


@dataclass(kw_only=True)
class ShortResult(RunResult):
    """What a search by short trainings found; see `RunResult`. Scores are those of the last short training."""

    kind: ClassVar[str] = 'short trainings'

    def best_within(self, budget: Budget, number: int | None = 1) -> list[Scored]:
        """Return the best networks that a budget allows, best first: those of the last rung before all others."""
        return self.history.best(number, among=lambda each: bool(budget.allows(self.space.to_array(each.widths))[0]))

    def slim(self, scored: Scored) -> nn.Module:
        """Return the slim model of widths that were trained, with the weights of their last short training."""
        for each in self.last_trainings:
            if each.finalist.scored.widths == scored.widths:
                return self.trained_model(each)
        raise ValueError(f'{scored.widths} were not trained in this run. Give a record of its history.')

    @property
    def last_trainings(self) -> list[TrainedFinalist]:
        """The last short training of each network."""
        last = {widths_key(each.finalist.scored.widths): each for each in self.short_trainings}
        return list(last.values())

    def list_models(self, sort: bool = True, limit: int | None = 1) -> Iterator[RawFormatModelSpace]:
        """Yield the best trained finalists, best first; without finalists, the networks of the short trainings."""
        if self.trained:
            yield from super().list_models(sort, limit)
            return
        trained = {widths_key(each.finalist.scored.widths): each for each in self.last_trainings}
        records = self.history.best() if sort else list(self.history)
        keys = [key for key in map(widths_key, (each.widths for each in records)) if key in trained]
        yield from (self.as_model(trained[key]) for key in keys[:limit])

    def findings(self) -> list[str]:
        """Return sentences on the outcome: budgets under which no candidate is better than the uniform network."""
        return super().findings() if self.trained else uniform_kept(self.uniform_first, 'candidate')

    def _searched_table(self) -> str:
        return short_trainings_table(self.last_trainings, self.space, self.short_metric)
