"""The stages of a run as trials of NNI's training service."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nni.nas.execution import TrainingServiceExecutionEngine
from tqdm.auto import tqdm

from ..files import save_torch, write_text
from ..randomness import random_state
from ..run.finalists import BASELINE, Finalist, TrainedFinalist, read_result
from ..run.folder import RunFolder
from ..run.session import Session
from ..run.setup import RunSetup
from ..search.history import Scored
from ..space.summary import mutation_summary
from .runner import Job, TrialRunner
from .search_pool import SearchPool
from .watchdog import manager_ends_with_this_process

__all__ = ['AsTrials']

_logger = logging.getLogger(__name__)


class AsTrials:
    """Does the stages in trials: one trains the supernet, several score widths, each finalist has its own.

    Parameters
    ----------
    setup, folder
        The run.
    engine
        NNI's training-service engine.
    trial_directory
        The folder of the run as the machines of the trials see it; None: under the same path.

    Raises
    ------
    ValueError
        If the experiment's ``max_trial_number`` has no room for all stages.
    """

    def __init__(
        self,
        setup: RunSetup,
        folder: RunFolder,
        engine: TrainingServiceExecutionEngine,
        trial_directory: str | None = None,
    ) -> None:
        self.setup = setup
        self.folder = folder
        self._finalists = setup.finalists.number + (1 if setup.finalists.number else 0)
        self._guard = contextlib.ExitStack()
        self._guard.enter_context(manager_ends_with_this_process(_manager(engine)))
        try:
            self.runner = TrialRunner(engine, Session(folder.path), trial_directory or str(folder.path))
            self.runner.poll(now=True)
            self._check_room()
            self._publish_axes()
            write_text(folder.setup, setup.dump())
        except BaseException:
            self._guard.close()
            raise
        self._pool: SearchPool | None = None

    def _check_room(self) -> None:
        left, needed = self.runner.trials_left, self._trials_needed()
        if left < needed:
            raise ValueError(
                f'max_trial_number leaves room for {left} more trials, but this run needs {needed}: one for the supernet, '
                f'one or more for the search, {self._finalists} for finalists and the baseline, as far as they are not '
                'done. Raise it, or ask for fewer finalists.'
            )

    def _trials_needed(self) -> int:
        """How many trials are still to come, at least."""
        done = sum(1 for path in self.folder.path.glob('finalists/*/result.json'))
        if self.folder.finalists.exists():
            return max(0, self._finalists - done)
        return self._finalists + 1 + (0 if self.folder.trained else 1)

    def _publish_axes(self) -> None:
        """Take NNI's own axes out of the Hyper-parameter tab: one for every group, with a tick for every width."""
        self.runner.experiment.update_search_space({})

    # --- stages -----------------------------------------------------------------------------------

    def train_supernet(self) -> None:
        """Train the supernet in a trial.

        Raises
        ------
        nni_cafenet.errors.TrialFailedError
            If it fails twice.
        """
        folder, space = self.folder, self.setup.space
        if folder.trained:
            self.runner.retire_others([])
            return
        if not folder.initial.exists():
            weights = {name: tensor.detach().cpu() for name, tensor in space.state_dict().items()}
            save_torch({'weights': weights, 'random': random_state()}, folder.initial)
        job = Job('supernet', {'stage': 'supernet'}, {'stage': 'supernet'}, self._details(space.full_widths))
        with tqdm(total=1, desc='Supernet', unit='trial', dynamic_ncols=True) as bar:
            lost = self.runner.run([job], done=lambda job: folder.trained, ended=lambda job: bar.update())
        if lost:
            raise self.runner.error(job)

    def score(self, batch: Sequence[Mapping[str, int]]) -> Iterator[Scored]:
        """Yield the scores of some widths, in their order, found by search trials side by side."""
        if self._pool is None:
            largest = self._details(self.setup.space.full_widths)
            self._pool = SearchPool(self.runner, self.folder, largest, reserved=self._finalists)
        return self._pool.score(batch)

    def train_finalists(self, finalists: Sequence[Finalist]) -> list[TrainedFinalist]:
        """Train each finalist in a trial of its own; one that fails twice is reported and left out."""
        self._end_search()
        jobs = {self._job(finalist).name: finalist for finalist in finalists}
        missing = [self._job(one) for one in finalists if self._result(one) is None]
        with tqdm(total=len(missing), desc='Finalists', unit='trial', dynamic_ncols=True) as bar:
            self.runner.run(
                missing, done=lambda job: self._result(jobs[job.name]) is not None, ended=lambda job: bar.update()
            )
        return [result for result in map(self._result, finalists) if result is not None]

    def close(self) -> None:
        """Let search trials end, and the manager live on."""
        try:
            self._end_search()
        finally:
            self._guard.close()

    def _end_search(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _job(self, finalist: Finalist) -> Job:
        baseline = finalist.name == BASELINE
        summary = mutation_summary(
            self.setup.space, finalist.scored.widths, stage='baseline' if baseline else 'finalist'
        )
        name = 'baseline' if baseline else f'finalist {finalist.name}'
        task = {'stage': 'finalist', 'finalist': finalist.to_json()}
        return Job(name, task, summary, self._details(finalist.scored.widths))

    def _result(self, finalist: Finalist) -> TrainedFinalist | None:
        return read_result(finalist, self.folder.finalist(finalist.name))

    def _details(self, widths: Mapping[str, int]) -> dict[str, Any]:
        """What the web UI shows of a trial on demand, where its summary is short: only finalists are drawn."""
        return {
            'widths': dict(widths),
            'MACs': self.setup.space.macs(widths),
            'params': self.setup.space.params(widths),
        }


def _manager(engine: TrainingServiceExecutionEngine) -> int | None:
    process = engine.nodejs_binding._proc
    return None if process is None else int(process.pid)
