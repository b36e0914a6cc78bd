"""The main process of a run whose stages are NNI trials."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from nni.nas.execution import TrainingServiceExecutionEngine
from tqdm.auto import tqdm

from ..errors import LimitReachedError
from ..options import epochs_text
from ..search import Scored
from ..space import mutation_summary, published_axes
from ..stages import (
    BASELINE,
    Finalist,
    RunFolder,
    StageContext,
    TrainedFinalist,
    check_checkpoint,
    read_choice,
    read_result,
    restore_first_seeds,
    trainings_title,
)
from ..utils import random_state, save_torch
from .heartbeat import RunHeartbeat
from .job import Job
from .runner import TrialRunner
from .search_pool import SearchPool
from .shown_scores import ShownScores
from .watchdog import ends_with_this_process

__all__ = ['AsTrials']

_logger = logging.getLogger(__name__)


class AsTrials:
    """Executes the stages as trials: one for the supernet, several for scores, one per finalist.

    ``trial_directory`` is the path of the run's folder on the machines of the trials, by default the same. Raises
    ValueError if the experiment's ``max_trial_number`` is too small for all stages, `ResumeError` if a checkpoint is
    damaged.
    """

    def __init__(
        self,
        context: StageContext,
        folder: RunFolder,
        engine: TrainingServiceExecutionEngine,
        trial_directory: str | None = None,
    ) -> None:
        self.context = context
        self.folder = folder
        self._choice = read_choice(folder)
        text = context.dump()
        if folder.setup.exists():
            text = restore_first_seeds(folder.read_setup(), text)
        for path in [folder.initial, folder.checkpoint, *(each / 'checkpoint.ckpt' for each in folder.trainings)]:
            check_checkpoint(path)
        manager = engine.nodejs_binding._proc
        self._release = None if manager is None else ends_with_this_process(manager.pid)
        self.runner = TrialRunner(engine, RunHeartbeat(folder.path), trial_directory or str(folder.path))
        self._scores = ShownScores(self.runner, context)
        self.runner.retire_others(but=self._jobs_to_do())
        self._check_room()
        self._publish_axes()
        folder.write_setup(text)
        self._pool: SearchPool | None = None

    def _jobs_to_do(self) -> set[str]:
        """Return what the remaining trials do (`Job.does`)."""
        if self._choice is not None:
            return {_job_name(each.name, each.epochs) for each in self._choice.finalists if self._is_missing(each)}
        return self._stages_to_do() | {
            _job_name(name, epochs)
            for name, epochs in self.context.possible_trainings()
            if not (self.folder.training(name, epochs) / 'result.json').exists()
        }

    def _is_missing(self, finalist: Finalist) -> bool:
        return finalist.same_as is None and self._result(finalist) is None

    def _stages_to_do(self) -> set[str]:
        """Return what the remaining trials before the finalists do (`Job.does`)."""
        folder, context = self.folder, self.context
        if context.finalists.drawn or self._choice is not None or (folder.searched and not context.trainings):
            return set()
        return {'search'} if folder.trained else {'supernet', 'search'}

    def _trainings_left(self) -> int:
        """Return the number of networks left to train."""
        if self._choice is not None:
            return sum(map(self._is_missing, self._choice.finalists))
        done = sum((each / 'result.json').exists() for each in self.folder.trainings)
        return max(0, self.context.trainings - done)

    def _check_room(self) -> None:
        again, stages, trainings = self.runner.started_again(), self._stages_to_do(), self._trainings_left()
        running = sum(does not in ('supernet', 'search') for does in again)
        needed = len(stages.difference(again)) + max(0, trainings - running)
        left = self.runner.trials_left
        if left < needed:
            raise ValueError(
                f'max_trial_number allows {left} more trials, but this run still needs {needed}: '
                f'{"one for the supernet, one or more for the search, " if stages else ""}{trainings} to train '
                'networks. Raise it, or train fewer networks.'
            )

    def _publish_axes(self) -> None:
        """Publish the axes of the Hyper-parameter tab; NNI's default has a tick for every width."""
        self.runner.experiment.update_search_space(published_axes(self.context.space))

    # --- stages -----------------------------------------------------------------------------------

    def train_supernet(self) -> None:
        """Train the supernet in a trial; a TrialFailedError if it fails twice."""
        folder, space = self.folder, self.context.space
        if folder.trained:
            return
        if not folder.initial.exists():
            weights = {name: tensor.detach().cpu() for name, tensor in space.state_dict().items()}
            save_torch({'weights': weights, 'random': random_state()}, folder.initial)
        job = Job('supernet', {'stage': 'supernet'}, {'stage': 'supernet'}, self._details(space.full_widths))
        with tqdm(total=1, desc='Supernet', unit='trial', dynamic_ncols=True) as bar:
            lost = self.runner.run(
                [job], done=lambda job: folder.trained, ended=lambda job: bar.update(), seen=_epochs_on(bar)
            )
        if lost:
            raise self.runner.error(job)

    def score(self, batch: Sequence[Mapping[str, int]]) -> Iterator[Scored]:
        """Score a batch of widths in parallel search trials; yield results in order."""
        if self._pool is None:
            largest = self._details(self.context.space.full_widths)
            self._pool = SearchPool(self.runner, self.folder, largest, reserved=self.context.trainings)
        return self._shown(self._pool.score(batch))

    def _shown(self, scores: Iterator[Scored]) -> Iterator[Scored]:
        """Show scored widths in the web UI, and return them as a search in this process does."""
        for scored in scores:
            self._scores.add(scored)
            yield dataclasses.replace(scored, shown={})

    def expected(self, widths: int) -> str:
        """Return ``''``: how long scores take depends on how many trials run at once."""
        return ''

    def train_finalists(self, finalists: Sequence[Finalist]) -> Iterator[TrainedFinalist]:
        """Train each finalist in its own trial; those that fail twice are logged and left out.

        Raises `TrialFailedError` if all fail, and `LimitReachedError` if a limit of the experiment prevents some
        trainings; finished ones are yielded first.
        """
        self._end_search(wait=True)
        jobs = {self._job(finalist).name: finalist for finalist in finalists}
        missing = [self._job(one) for one in finalists if self._result(one) is None]
        lost, limit, title = list[Job](), None, trainings_title(finalists)
        with tqdm(total=len(missing), desc=title, unit='trial', dynamic_ncols=True, disable=not missing) as bar:
            try:
                lost = missing and self.runner.run(  # without jobs, it would end restarted trials of a later rung
                    missing,
                    done=lambda job: self._result(jobs[job.name]) is not None,
                    ended=lambda job: bar.update(),
                    seen=_epochs_on(bar),
                )
            except LimitReachedError as error:
                limit = error
        trained = [result for result in map(self._result, finalists) if result is not None]
        yield from trained
        if limit is not None:
            raise limit
        if lost and not trained:
            raise self.runner.error(lost[0])

    @property
    def resume_hint(self) -> str:
        """A sentence that tells users how to resume the run."""
        return self.runner.manager.resume_hint

    def close(self) -> None:
        """Stop search trials; the manager runs until NNI stops it."""
        with contextlib.suppress(OSError):  # the disk may be full
            self._end_search(wait=False)
        # After Ctrl-C, NNI stops the manager unless a second Ctrl-C interrupts that.
        if self._release is not None and not isinstance(sys.exc_info()[1], KeyboardInterrupt):
            atexit.register(self._release)

    def _end_search(self, *, wait: bool) -> None:
        if self._pool is not None:
            self._pool.close(wait=wait)
            self._pool = None

    def _job(self, finalist: Finalist) -> Job:
        stage = 'baseline' if finalist.is_baseline else 'finalist'
        stage = stage if finalist.epochs is None else epochs_text(finalist.epochs)
        summary = mutation_summary(self.context.space, finalist.scored.widths, stage=stage)
        task = {'stage': 'finalist', 'finalist': finalist.to_json()}
        details = self._details(finalist.scored.widths)
        choice = read_choice(self.folder)
        alike = [] if choice is None else [each.title for each in choice.finalists if each.same_as == finalist.name]
        details.update({'trained for': [finalist.title, *alike]} if alike else {})
        return Job(_job_name(finalist.name, finalist.epochs), task, summary, details)

    def _result(self, finalist: Finalist) -> TrainedFinalist | None:
        metric = self.context.metric if finalist.epochs is None else self.context.short_metric
        return read_result(finalist, self.folder.training(finalist.folder, finalist.epochs), metric)

    def _details(self, widths: Mapping[str, int]) -> dict[str, Any]:
        """Return what the web UI shows in a trial's details."""
        return {
            'widths': dict(widths),
            'MACs': self.context.space.macs(widths),
            'params': self.context.space.params(widths),
        }


def _job_name(finalist: str, epochs: int | None) -> str:
    rank, at, budget = finalist.partition('@')
    if epochs is not None:
        return f'candidate {finalist}, {epochs_text(epochs)}'
    return f'baseline{at}{budget}' if rank == BASELINE else f'finalist {finalist}'


def _epochs_on(bar: Any) -> Callable[[Sequence[Job]], None]:
    """Return a callback that shows the reported epochs of running trials on a progress bar."""

    def show(jobs: Sequence[Job]) -> None:
        text = ', '.join(f'{job.name}: {job.reports} epochs' for job in jobs)
        if text != bar.postfix:
            bar.set_postfix_str(text)

    return show
