"""Width search by short trainings: the rival of a supernet at equal compute, as an NNI strategy."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..options import FinalistOptions, Halving, SearchOptions
from ..search import FULL, Budget, LevelSpace, Scored, sample_levels, uniform_within, widths_key
from ..stages import BASELINE, Finalist, RunFolder, RunOptions, Stages, TrainedFinalist, finalist_name
from .finalist_trainings import FinalistTrainings
from .result import RunResult
from .short_result import ShortResult
from .staged_strategy import StagedStrategy

__all__ = ['ShortTrainings']


class ShortTrainings(StagedStrategy):
    """Search widths by short trainings and successive halving, without a supernet.

    ``NasExperiment(space, evaluator, ShortTrainings('50%', n=24, epochs=(2, 4, 8), keep=0.5)).run()`` draws 24 widths of
    the budget, including the uniformly scaled network. The evaluator trains each for 2 epochs, the better 12 anew for 4,
    and the better 6 of those for 8. Its ``max_epochs`` is replaced; the rest of its recipe is kept. Networks are ranked on
    a held-out part of the *training* data; the evaluator's validation data is not touched. ``export_top_models`` returns
    the best widths (``formatter='dict'``) or slim models with the weights of their last short training
    (``formatter='instance'``), best first.

    For a single budget, it finds about as much as `CafeNet` at equal compute. A supernet pays off if it is reused: for more
    budgets, other costs, more candidates. See docs/short_trainings.md.

    Parameters
    ----------
    budget
        Largest cost of a network, as in `CafeNet`; a list of budgets is searched one by one.
    n
        Networks per budget in the first rung, including the uniformly scaled one; 2 or more.
    epochs
        Epochs of a training in each rung, ascending.
    keep
        Share of the networks that reach the next rung, rounded up.
    floor
        Least share of the budget that a random network uses, as far as the space allows; default 0.98.
    score
        What networks are ranked by: ``'loss'`` (default), the loss of ``training_step`` on the held-out data, or a metric
        that the evaluator's ``validation_step`` logs, such as ``'val_acc'``.
    higher_is_better, holdout, score_data, seed, directory, trial_directory
        As in `CafeNet`.
    finalists
        Number of the best networks of the last rung that the evaluator trains in full, besides the uniformly scaled one;
        ``export_top_models`` then ranks these. 0 (default): none.
    baseline, metric, metric_higher_is_better
        Options of these finalists, as in `CafeNet`.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range.

    Notes
    -----
    A learning-rate schedule must follow the trainer (``trainer.max_epochs``, ``estimated_stepping_batches``); one with a
    fixed number of epochs is cut off.
    """

    def __init__(
        self,
        budget: Any,
        n: int = 24,
        epochs: Sequence[int] = (2, 4, 8),
        keep: float = 0.5,
        *,
        floor: float = FULL,
        score: str = 'loss',
        higher_is_better: bool | None = None,
        holdout: float = 0.1,
        score_data: Any = None,
        seed: int = 0,
        finalists: int = 0,
        baseline: bool = True,
        metric: str | None = None,
        metric_higher_is_better: bool | None = None,
        directory: str | os.PathLike[str] | None = None,
        trial_directory: str | os.PathLike[str] | None = None,
    ) -> None:
        self.halving = Halving(epochs, keep)  # type: ignore[arg-type]
        self.floor = SearchOptions.check('floor', floor)
        self.n = SearchOptions.check('candidates', n)
        super().__init__(
            budget,
            options=RunOptions.checked(
                score=score, higher_is_better=higher_is_better, holdout=holdout, score_data=score_data, seed=seed
            ),
            finalists=FinalistOptions(
                number=finalists,
                metric=metric,
                higher_is_better=metric_higher_is_better,
                baseline=baseline,
                halving=self.halving,
                drawn=self.n,
            ),
            directory=directory,
            trial_directory=trial_directory,
        )
        last = self.halving.sizes(self.n)[-1]
        if self.finalist_options.number > last:
            raise ValueError(f'finalists={finalists}: the last rung has {last} networks. Give {last} or fewer.')
        self._ranked: list[list[Finalist]] = []

    _keeps_choice = False

    def _supernet_record(self) -> dict[str, Any]:
        without = ('sharing', 'channel_sets_per_step', 'training')
        return {name: value for name, value in super()._supernet_record().items() if name not in without}

    def _scores_record(self) -> dict[str, Any]:
        return {**super()._scores_record(), 'epochs': list(self.halving.epochs)}

    def _search_record(self) -> dict[str, Any]:
        return {'n': self.n, 'floor': self.floor, 'keep': self.halving.keep}

    def _make_result(self, **common: Any) -> RunResult:
        return ShortResult(**common)

    # --- the stages -------------------------------------------------------------------------------

    def _find(self, folder: RunFolder, stages: Stages, trainings: FinalistTrainings) -> None:
        """Draw widths of each budget, and train them for ever more epochs."""
        history, result = self.history, self.result

        def keep(trained: TrainedFinalist) -> None:
            scored = dataclasses.replace(
                trained.finalist.scored, score=trained.metric, epochs=trained.finalist.epochs or 0
            )
            if scored.widths not in history or history[scored.widths].epochs < scored.epochs:
                history.add(scored)

        for name, budget in zip(self.budget_names, self.budgets):
            ranked = trainings.halved(self._candidates(name, budget), self.halving, keep)
            self._ranked.append(ranked)
            if ranked[0].is_baseline:
                result.uniform_first.append(name)
        if self._is_first:
            history.export(folder.path, self._space.labels)
            folder.mark_searched()

    def _candidates(self, name: str | None, budget: Budget) -> list[Finalist]:
        """Return random networks of a budget, and the uniformly scaled one."""
        space, levels = self._space, LevelSpace(self._space, budget)
        uniform = uniform_within(budget)
        rng = np.random.default_rng([self.options.seed, 2])
        drawn = levels.as_dicts(sample_levels(levels, self.n, rng, self.floor, seen=set()))
        others = [widths for widths in drawn if widths_key(widths) != widths_key(uniform)][: self.n - 1]
        named = [(finalist_name(rank, name), widths) for rank, widths in enumerate(others, start=1)]
        return [
            Finalist(each, Scored(widths, space.macs(widths), space.params(widths), math.nan, {}))
            for each, widths in [*named, (finalist_name(BASELINE, name), uniform)]
        ]

    def _choose_finalists(self, stages: Stages, trainings: FinalistTrainings) -> list[Finalist]:
        options, finalists = self.finalist_options, list[Finalist]()
        for name, budget, ranked in zip(self.budget_names, self.budgets, self._ranked):
            chosen = ranked[: options.number]
            if options.baseline and not any(each.is_baseline for each in chosen):
                chosen += [each for each in self._candidates(name, budget) if each.is_baseline]
            finalists += chosen
        return [dataclasses.replace(each, scored=self.history[each.scored.widths]) for each in finalists]

    def extra_repr(self) -> str:
        """Return the options that matter most."""
        return f'budget={self.budget_specs!r}, n={self.n}, epochs={self.halving.epochs}, keep={self.halving.keep}'
