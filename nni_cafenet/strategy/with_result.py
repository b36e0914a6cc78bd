"""The results of a run as methods of its strategy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nni.nas.space import RawFormatModelSpace
from torch import nn

from ..search import Budget, Headroom, History, Scored
from ..stages import Metric, TrainedFinalist
from .result import RunResult

__all__ = ['WithResult', 'known']


class WithResult:
    """Hands out what a run has found so far; see `RunResult` for each method."""

    _result: RunResult | None = None

    @property
    def result(self) -> RunResult:
        """What the run has found so far. `RunResult.load` reads it from the folder of a finished run."""
        found: RunResult = known(self._result)
        return found

    @property
    def history(self) -> History:
        """Every width that was scored."""
        return self.result.history

    @property
    def headroom(self) -> list[Headroom]:
        """Possible gain over the uniform network under each budget, by the supernet's scores."""
        return self.result.headroom

    @property
    def trained(self) -> list[TrainedFinalist]:
        """The finalists and the baseline, as far as they were trained."""
        return [] if self._result is None else list(self._result.trained)

    @property
    def short_trainings(self) -> list[TrainedFinalist]:
        """The short trainings that chose the finalists, rung by rung, as far as they were done."""
        return self.result.short_trainings

    @property
    def metric(self) -> Metric:
        """What trained finalists are ranked by."""
        return self.result.metric

    def best_within(self, budget: Budget, number: int | None = 1) -> list[Scored]:
        """Return the best widths that were scored and that a budget allows, best first."""
        return self.result.best_within(budget, number)

    def best_trained(self, budget: str | None = None) -> TrainedFinalist | None:
        """Return the best trained network, of the named budget if there are several; None if none was trained."""
        return self.result.best_trained(budget)

    def keeps_uniform(self, budget: str | None = None) -> bool:
        """Whether no trained finalist is better than the uniform network, under the named budget."""
        return self.result.keeps_uniform(budget)

    def compared(self) -> list[TrainedFinalist]:
        """Return the rivals of the results: the uniform networks, and the best finalist where a uniform one is kept."""
        return self.result.compared()

    def trained_model(self, trained: TrainedFinalist) -> nn.Module:
        """Return the slim model of a finalist, or of the baseline, with its trained weights."""
        return self.result.trained_model(trained)

    def slim(self, scored: Scored) -> nn.Module:
        """Return the slim model of scored widths."""
        return self.result.slim(scored)

    def report(self) -> str:
        """Return a table of the best networks, and the `findings`."""
        return self.result.report()

    def findings(self) -> list[str]:
        """Return sentences on the outcome."""
        return self.result.findings()

    def list_models(self, sort: bool = True, limit: int | None = 1) -> Iterator[RawFormatModelSpace]:
        """Yield the best networks as NNI exports them, best first.

        Parameters
        ----------
        sort
            False: in the order in which they were scored or chosen.
        limit
            Largest number of models; None: all.
        """
        return self.result.list_models(sort, limit)


def known(value: Any) -> Any:
    """Return a value that exists once a run has begun."""
    if value is None:
        raise RuntimeError('The strategy has not been run yet: call NasExperiment(...).run() first.')
    return value
