"""Width search by short trainings: the rival of a supernet at equal compute, as an NNI strategy."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from nni.nas.space import RawFormatModelSpace
from torch import nn

from ..options import FinalistOptions, Halving, SearchOptions
from ..search import FULL, Budget, History, LevelSpace, Scored, sample_levels, uniform_within, widths_key
from ..stages import (
    BASELINE,
    Finalist,
    RunFolder,
    Stages,
    TrainedFinalist,
    TrainedModel,
    finalist_name,
    short_trainings_table,
)
from .cafenet import CafeNet, _known

__all__ = ['ShortTrainings']

_logger = logging.getLogger(__name__)


class ShortTrainings(CafeNet):
    """Search widths by short trainings and successive halving; no supernet.

    ``NasExperiment(space, evaluator, ShortTrainings('50%', n=24, epochs=(2, 4, 8), keep=0.5)).run()`` draws 24 widths of
    the budget, the uniformly scaled network among them. The evaluator trains each for 2 epochs, the better 12 anew for 4,
    and the better 6 of those for 8. Its ``max_epochs`` is replaced; the rest of its recipe stays. Networks are ranked on a
    held-out part of the *training* data; the evaluator's validation data is not touched. ``export_top_models`` gives the
    best widths (``formatter='dict'``) or slim models with the weights of their last short training
    (``formatter='instance'``), best first.

    For one budget, this finds about as much as `CafeNet` at equal compute. A supernet pays off where it is reused: for
    more budgets, other costs, more candidates. See docs/short_trainings.md.

    Parameters
    ----------
    budget
        What a network may cost, as in `CafeNet`; a list of budgets is searched one by one.
    n
        Networks of each budget that are trained in the first rung, the uniformly scaled one included; 2 or more.
    epochs
        Epochs of a training in each rung, ascending.
    keep
        Share of the networks that reach the next rung, rounded up.
    floor
        Least share of the budget that a random network uses, as far as the space allows; default 0.98.
    score
        What networks are ranked by: ``'loss'`` (default), the loss of ``training_step`` on the held-out data, or the name
        of a metric that the evaluator's ``validation_step`` logs, such as ``'val_acc'``.
    higher_is_better, holdout, score_data, seed, directory, trial_directory
        As in `CafeNet`.
    finalists
        How many of the best networks of the last rung are trained in full by the evaluator, besides the uniformly scaled
        one; ``export_top_models`` then ranks these. 0 (default): none.
    baseline, metric, metric_higher_is_better
        Of these finalists, as in `CafeNet`.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range.

    Notes
    -----
    A schedule of the learning rate must follow the trainer (``trainer.max_epochs``, ``estimated_stepping_batches``); one
    with a fixed number of epochs is cut off.
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
        super().__init__(
            budget,
            score=score,
            higher_is_better=higher_is_better,
            holdout=holdout,
            score_data=score_data,
            seed=seed,
            directory=directory,
            trial_directory=trial_directory,
        )
        self.halving = Halving(epochs, keep)  # type: ignore[arg-type]
        self.floor = SearchOptions.check('floor', floor)
        self.n = SearchOptions.check('candidates', n)
        last = self.halving.sizes(self.n)[-1]
        self.finalist_options = FinalistOptions(
            number=finalists,
            weights='fresh',
            metric=metric,
            higher_is_better=metric_higher_is_better,
            baseline=baseline,
            halving=self.halving,
            drawn=self.n,
        )
        if self.finalist_options.number > last:
            raise ValueError(f'finalists={finalists}: the last rung has {last} networks. Give {last} or fewer.')
        self._ranked: list[list[Finalist]] = []

    # --- the run ----------------------------------------------------------------------------------

    def _supernet_record(self) -> dict[str, Any]:
        record = super()._supernet_record()
        return {
            name: value
            for name, value in record.items()
            if name not in ('sharing', 'channel_sets_per_step', 'training')
        }

    def _scores_record(self) -> dict[str, Any]:
        return {**super()._scores_record(), 'epochs': list(self.halving.epochs)}

    def _search_record(self) -> dict[str, Any]:
        own = {'n': self.n, 'floor': self.floor, 'keep': self.halving.keep}
        return {**{name: each for name, each in super()._search_record().items() if name != 'search'}, **own}

    def _find(self, folder: RunFolder, stages: Stages) -> None:
        """Draw widths of each budget, and train them for longer and longer."""
        trainer = _known(self._setup).supernet.trainer
        path = folder.history if trainer.is_global_zero else None
        self._history = history = History(path, higher_is_better=self.options.higher_is_better)

        def keep(trained: TrainedFinalist) -> None:
            scored = dataclasses.replace(
                trained.finalist.scored, score=trained.metric, epochs=trained.finalist.epochs or 0
            )
            if scored.widths not in history or history[scored.widths].epochs < scored.epochs:
                history.add(scored)

        for name, budget in zip(self._budget_names, self._budgets):
            self._ranked.append(self._halved(self._candidates(name, budget), self.halving, stages, folder, keep))
        if path is not None:
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

    def _choose_finalists(self, folder: RunFolder, stages: Stages) -> list[Finalist]:
        options, finalists = self.finalist_options, list[Finalist]()
        for name, budget, ranked in zip(self._budget_names, self._budgets, self._ranked):
            chosen = ranked[: options.number]
            if options.baseline and not any(each.is_baseline for each in chosen):
                chosen += [each for each in self._candidates(name, budget) if each.is_baseline]
            finalists += chosen
        finalists = [dataclasses.replace(each, scored=self.history[each.scored.widths]) for each in finalists]
        return self._in_folders(finalists, folder)

    # --- results ----------------------------------------------------------------------------------

    def report(self) -> str:
        """Return a table of the trained finalists, or of the best short trainings and the baseline."""
        if self._trained:
            return super().report()
        table = short_trainings_table(self._last_trainings(), self._space, _known(self._setup).short_metric)
        return '\n'.join([table, *self.findings()])

    def best_within(self, budget: Budget, number: int | None = 1) -> list[Scored]:
        """Return the best networks that a budget allows, best first: those of the last rung before all others."""
        return self.history.best(number, among=lambda each: bool(budget.allows(self._space.to_array(each.widths))[0]))

    def findings(self) -> list[str]:
        """Return sentences on what came out: budgets under which no candidate is better than the uniform network."""
        if self._trained:
            return super().findings()
        kept = [name for name, ranked in zip(self._budget_names, self._ranked) if ranked[0].is_baseline]
        reason = 'no candidate is better than the uniformly scaled network'
        return [f'Uniform kept{"" if name is None else f" under {name}"}: {reason}.' for name in kept]

    def list_models(self, sort: bool = True, limit: int | None = 1) -> Iterator[RawFormatModelSpace]:
        """Yield the best trained finalists, best first; without finalists, the networks of the short trainings.

        Parameters
        ----------
        sort
            False: in the order in which they were trained.
        limit
            How many; None: all.
        """
        if self._trained:
            yield from super().list_models(sort, limit)
            return
        trained = {widths_key(each.finalist.scored.widths): each for each in self._last_trainings()}
        records = [each for each in self.history.best() if widths_key(each.widths) in trained]
        if not sort:
            records = [each for each in self.history if widths_key(each.widths) in trained]
        for scored in records[:limit]:
            each = trained[widths_key(scored.widths)]
            yield TrainedModel(self._space, each, self._folder_of(each))

    def slim(self, scored: Scored) -> nn.Module:
        """Return the slim model of widths that were trained, with the weights of their last short training."""
        for each in self._last_trainings():
            if each.finalist.scored.widths == scored.widths:
                return self.trained_model(each)
        raise ValueError(f'{scored.widths} were not trained in this run. Give a record of its history.')

    def _last_trainings(self) -> list[TrainedFinalist]:
        """Return the last short training of each network."""
        last = {widths_key(each.finalist.scored.widths): each for each in self.short_trainings}
        return list(last.values())

    def extra_repr(self) -> str:
        """Return the options that matter most."""
        return f'budget={self.budget_specs!r}, n={self.n}, epochs={self.halving.epochs}, keep={self.halving.keep}'
