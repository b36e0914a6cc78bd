"""Trainings of single networks: where each is kept, and short ones that choose among candidates."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import TrainingDivergedError
from ..options import Halving, halve
from ..ranks import from_first
from ..stages import (
    Finalist,
    RunFolder,
    StageContext,
    Stages,
    TrainedFinalist,
    read_choice,
    with_folders,
    write_choice,
    write_trainings,
)
from .result import RunResult

__all__ = ['FinalistTrainings']

_logger = logging.getLogger(__name__)


class FinalistTrainings:
    """The trainings of single networks in a run.

    ``asked`` is the context with the data of the run: those of its start if trials do the work, else ``context``
    itself.
    """

    def __init__(
        self, context: StageContext, asked: StageContext, folder: RunFolder, stages: Stages, result: RunResult
    ) -> None:
        self._context = context
        self._asked = asked
        self._folder = folder
        self._stages = stages
        self._result = result

    def train(self, choose: Callable[[], list[Finalist]], *, keep_choice: bool) -> None:
        """Train the finalists that ``choose`` returns; ``keep_choice``: unless an earlier process has chosen them."""
        choice = from_first(lambda: read_choice(self._folder)) if keep_choice else None
        if choice is not None:
            self._result.short, finalists = choice.short, choice.finalists
        else:
            chosen = choose()
            finalists = self._in_folders(chosen) if chosen else []
            if keep_choice and self._first:
                write_choice(self._folder, finalists, self._result.short)
        once = [each for each in finalists if each.same_as is None]
        found = self._result.trained
        for trained in self._stages.train_finalists(once):
            alike = [each for each in finalists if each.folder == trained.finalist.folder]
            found += [dataclasses.replace(trained, finalist=each) for each in alike]
        found.sort(key=lambda trained: finalists.index(trained.finalist))
        if finalists:
            _logger.info('%s', self._result.report())

    def halved(
        self,
        candidates: Sequence[Finalist],
        halving: Halving,
        keep: Callable[[TrainedFinalist], Any] = lambda trained: None,
    ) -> list[Finalist]:
        """Return the networks of the last rung of short trainings, best first; call ``keep`` with each that was trained."""
        metric = self._result.short_metric

        def train(rung: Sequence[Finalist], epochs: int) -> Iterator[tuple[Finalist, float]]:
            candidates = self._in_folders([dataclasses.replace(each, epochs=epochs) for each in rung])
            self._result.short += candidates
            for trained in self._stages.train_finalists(candidates):
                keep(trained)
                fitness = math.nan if math.isnan(trained.metric) else metric.fitness(trained.metric)
                yield Finalist(trained.finalist.name, trained.finalist.scored), fitness

        _logger.info('Short trainings: %s', halving.describe(len(candidates)))
        ranked = halve(candidates, halving, train)
        if not ranked:
            raise TrainingDivergedError(
                f'No short training has a {metric.name} that is a number. Lower the learning rate or clip gradients, and '
                'give another directory.'
            )
        return ranked

    def _in_folders(self, finalists: Sequence[Finalist]) -> list[Finalist]:
        """Give finalists, or the candidates of one rung, the folders of their trainings."""
        epochs = finalists[0].epochs if finalists else None
        inherited = self._context.finalists.weights == 'inherited'
        root = self._folder.root_of(epochs)
        training = self._asked.training_record(epochs)
        found, trainings = from_first(lambda: with_folders(finalists, training, root, inherited=inherited))
        if self._first:
            write_trainings(root, trainings)
        return found

    @property
    def _first(self) -> bool:
        """Whether this is the process of several that writes."""
        return bool(self._context.supernet.trainer.is_global_zero)
