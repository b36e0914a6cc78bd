"""The results of a run as methods of its strategy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..search import Headroom, History
from ..stages import TrainedFinalist
from .result import RunResult

__all__ = ['WithResult', 'known']

P = ParamSpec('P')
R = TypeVar('R')


def _of_result(method: Callable[Concatenate[RunResult, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Return a method of strategies that calls this one of the run's `RunResult`."""

    @functools.wraps(method)
    def call(strategy: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        found: R = getattr(strategy.result, method.__name__)(*args, **kwargs)
        return found

    return call


class WithResult:
    """Gives access to what a run has found so far."""

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

    best_within = _of_result(RunResult.best_within)
    best_trained = _of_result(RunResult.best_trained)
    keeps_uniform = _of_result(RunResult.keeps_uniform)
    compared = _of_result(RunResult.compared)
    trained_model = _of_result(RunResult.trained_model)
    slim = _of_result(RunResult.slim)
    report = _of_result(RunResult.report)
    findings = _of_result(RunResult.findings)
    list_models = _of_result(RunResult.list_models)


def known(value: Any) -> Any:
    """Return a value that exists once a run has begun."""
    if value is None:
        raise RuntimeError('The strategy has not been run yet: call NasExperiment(...).run() first.')
    return value
