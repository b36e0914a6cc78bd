"""What a run found: scored widths, trained networks, tables."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from nni.nas.space import RawFormatModelSpace
from torch import nn

from ..errors import TrainingDivergedError
from ..search import Budget, Headroom, History, Scored, is_full
from ..space import WidthSpace
from ..stages import (
    EqualCost,
    Finalist,
    Metric,
    RunFolder,
    TrainedFinalist,
    TrainedModel,
    finalists_table,
    overtraining,
    read_result,
    widths_table,
)
from .result_file import read_fields, write_result
from .searched_model import SearchedModel

__all__ = ['RunResult', 'uniform_kept']

_logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class RunResult:
    """What a run found. The strategies make it; `load` reads it from the folder of a finished run.

    Parameters
    ----------
    space
        The space that was searched.
    directory
        The folder of the run.
    budgets
        The budgets, one or several.
    budget_names
        Their names, such as ``['75%', '50%']``; ``[None]`` for one alone.
    score
        What widths were ranked by.
    metric
        What trained finalists are ranked by.
    short_metric
        What short trainings are ranked by.
    seed
        Seed of the run.
    proposals
        Widths that the searcher proposed for each budget.
    drawn
        Random widths of equal cost that the uniform network was compared with; None: by default.
    history
        Every width that was scored.
    trained
        The finalists and the baseline, as far as they were trained.
    short
        The short trainings that chose the finalists.
    uniform_first
        Names of budgets under which short trainings ranked the uniform network first.
    make_slim
        Makes the slim model of scored widths from the weights of the supernet.

    Examples
    --------
    >>> result = RunResult.load('run', space)
    >>> print(result.report())
    >>> best = result.best_trained()
    >>> model = result.trained_model(best)
    """

    kind: ClassVar[str] = 'supernet'

    space: WidthSpace
    directory: Path
    budgets: list[Budget]
    budget_names: list[str | None]
    score: str
    metric: Metric
    short_metric: Metric
    seed: int
    proposals: int = 0
    drawn: int | None = None
    history: History
    trained: list[TrainedFinalist] = field(default_factory=list)
    short: list[Finalist] = field(default_factory=list)
    uniform_first: list[str | None] = field(default_factory=list)
    make_slim: Callable[[Scored], nn.Module] | None = None

    # --- scored widths ----------------------------------------------------------------------------

    def best_within(self, budget: Budget, number: int | None = 1) -> list[Scored]:
        """Return the best widths of the space that were scored and that a budget allows, best first.

        Those that use the budget to within 2 % come before all others.
        """
        allowed = self.history.best(among=lambda each: self._is_allowed(each, budget))
        return sorted(allowed, key=lambda each: not is_full(budget, each.widths))[:number]

    def _is_allowed(self, scored: Scored, budget: Budget) -> bool:
        """Whether widths are of the space and within a budget; the history may have those of other budgets."""
        choices = self.space.choices
        known = scored.epochs or all(width in choices[label] for label, width in scored.widths.items())
        return bool(known) and bool(budget.allows(self.space.to_array(scored.widths))[0])

    def best_searched(self, number: int | None = 1) -> list[Scored]:
        """Return the best widths that were scored under any of the budgets, best first."""
        if len(self.budgets) == 1:
            return self.best_within(self.budgets[0], number)
        return self.history.best(number, among=lambda each: any(self._is_allowed(each, one) for one in self.budgets))

    def equal_cost(self) -> list[EqualCost]:
        """Return the widths of about the cost of each budget."""
        return [
            EqualCost(self.space, budget, name=name, total=self.proposals, drawn=self.drawn, seed=self.seed)
            for name, budget in zip(self.budget_names, self.budgets)
        ]

    def headroom_of(self, each: EqualCost) -> Headroom | None:
        """Return the headroom under one budget; None if too few widths of its cost were scored."""
        best = next(iter(self.best_within(each.budget)), None)
        return each.headroom(self.history, best, self.score)

    @property
    def headroom(self) -> list[Headroom]:
        """Possible gain over the uniform network under each budget, by the supernet's scores.

        Budgets with too few scored widths are left out.
        """
        if any(record.epochs for record in self.history):
            return []
        return [found for found in map(self.headroom_of, self.equal_cost()) if found is not None]

    def slim(self, scored: Scored) -> nn.Module:
        """Return the slim model of scored widths, with the supernet's weights and re-estimated running statistics.

        Raises
        ------
        RuntimeError
            If the result was loaded: the statistics need the data of the run. Run the strategy again in its directory.
        """
        if self.make_slim is None:
            raise RuntimeError(
                f'A result that was loaded has no data to re-estimate running statistics from. Run CafeNet again with '
                f'directory={str(self.directory)!r}: nothing is trained anew. Trained finalists need no data: '
                'trained_model(best_trained()).'
            )
        return self.make_slim(scored)

    # --- trained networks -------------------------------------------------------------------------

    def best_trained(self, budget: str | None = None) -> TrainedFinalist | None:
        """Return the best trained network, of the named budget if there are several; None if none was trained.

        It is the uniform network if no finalist is better.
        """
        own = [each for each in self.trained if budget is None or each.finalist.budget == budget]
        return min(self._sound(own), key=self._rank, default=None)

    def _sound(self, trained: Sequence[TrainedFinalist]) -> list[TrainedFinalist]:
        """Return the networks whose outputs and metric are finite; a TrainingDivergedError if there are none."""
        sound = [each for each in trained if math.isfinite(each.metric)]
        if trained and not sound:
            raise TrainingDivergedError(
                f'All trained networks have diverged: outputs or {self.metric.name or "metric"} are not finite, so none is '
                'handed out. Lower the learning rate or clip gradients (finalist_evaluator=), and run again.'
            )
        lost = [each.finalist.title for each in trained if each not in sound]
        if lost:
            _logger.warning('Not handed out, since the training has diverged: %s.', '; '.join(lost))
        return sound

    def _rank(self, trained: TrainedFinalist) -> tuple[float, bool]:
        """Order trained networks by their metric; of equals, the uniform one comes first."""
        return -self.metric.fitness(trained.metric), not trained.finalist.is_baseline

    def compared(self) -> list[TrainedFinalist]:
        """Return the rivals of the results: the uniform networks, and the best finalist where a uniform one is kept."""
        shown = list[TrainedFinalist]()
        for name in self.budget_names:
            own = sorted((each for each in self.trained if each.finalist.budget == name), key=self._rank)
            shown += [each for each in own if each.finalist.is_baseline]
            if self.keeps_uniform(name):
                shown += [each for each in own if not each.finalist.is_baseline][:1]
        return shown

    def keeps_uniform(self, budget: str | None = None) -> bool:
        """Whether no trained finalist is better than the uniform network, under the named budget."""
        own = [each for each in self.trained if budget is None or each.finalist.budget == budget]
        own = [each for each in own if math.isfinite(each.metric)]
        return bool(own) and min(own, key=self._rank).finalist.is_baseline

    def trained_model(self, trained: TrainedFinalist) -> nn.Module:
        """Return the slim model of a finalist, or of the baseline, with its trained weights."""
        return self.as_model(trained).executable_model()

    def as_model(self, trained: TrainedFinalist) -> TrainedModel:
        """Return a trained network as NNI exports it."""
        folder = RunFolder(self.directory).training(trained.finalist.folder, trained.finalist.epochs)
        return TrainedModel(self.space, trained, folder)

    @property
    def short_trainings(self) -> list[TrainedFinalist]:
        """The short trainings that chose the finalists, rung by rung, as far as they were done."""
        folder = RunFolder(self.directory)
        rungs = sorted(self.short, key=lambda each: each.epochs or 0)
        found = [read_result(each, folder.training(each.folder, each.epochs)) for each in rungs]
        return [each for each in found if each is not None]

    def list_models(self, sort: bool = True, limit: int | None = 1) -> Iterator[RawFormatModelSpace]:
        """Yield the best trained finalists, best first; without finalists, the best searched widths.

        Parameters
        ----------
        sort
            False: in the order in which they were scored or chosen.
        limit
            Largest number of models; None: all.
        """
        if self.trained:
            sound = self._sound(self.trained)
            ranked = sorted(sound, key=self._rank) if sort else sound
            once = list({each.finalist.folder: each for each in reversed(ranked)}.values())[::-1]
            yield from map(self.as_model, once[:limit])
            return
        records = self.best_searched(limit) if sort else list(self.history)[:limit]
        for scored in records:
            yield SearchedModel(self.space, scored, self.slim)

    # --- in words ---------------------------------------------------------------------------------

    def report(self) -> str:
        """Return a table of the trained finalists and the baseline, or of the best five widths, and the `findings`."""
        if self.trained:
            table = finalists_table(sorted(self.trained, key=self._rank), self.space, self.metric)
        else:
            table = self._searched_table()
        return '\n'.join([table, *self.findings()])

    def _searched_table(self) -> str:
        return widths_table(self.best_searched(5), self.space, self.score)

    def findings(self) -> list[str]:
        """Return sentences on the outcome: budgets that keep the uniform network, possible gain, overtraining."""
        kept = uniform_kept([name for name in self.budget_names if self.keeps_uniform(name)], 'finalist')
        warning = overtraining(RunFolder(self.directory).uniform_loss)
        said = [sentence for each in self.headroom for sentence in each.sentences()]
        return [*kept, *said, *([] if warning is None else [warning])]

    # --- on disk ----------------------------------------------------------------------------------

    def save(self, history: Path) -> None:
        """Write what `load` reads into the folder of the run; ``history``: the file of the scored widths."""
        write_result(self, history)

    @staticmethod
    def load(directory: str | Path, space: WidthSpace) -> RunResult:
        """Read the result of a finished run of `CafeNet` or `ShortTrainings`, without its strategy and evaluator.

        Parameters
        ----------
        directory
            The folder of the run.
        space
            The space that was searched, made as for the run.

        Raises
        ------
        nni_cafenet.errors.FolderError
            If the folder holds no finished run, or one of another version.
        nni_cafenet.errors.ResumeError
            If the run searched another space.
        """
        classes: list[type[RunResult]] = [RunResult, *RunResult.__subclasses__()]
        kinds = {each.kind: each for each in classes}
        kind, fields = read_fields(Path(directory), space, kinds)
        return kinds[kind](**fields)


def uniform_kept(budgets: Sequence[str | None], rival: str) -> list[str]:
    """Return sentences on the budgets that keep the uniform network."""
    reason = f'no {rival} is better than the uniformly scaled network'
    return [f'Uniform kept{"" if name is None else f" under {name}"}: {reason}.' for name in budgets]
