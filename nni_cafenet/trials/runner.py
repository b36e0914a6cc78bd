"""The main process's side: tasks become trials of NNI's training service, and their end is noticed."""

from __future__ import annotations

import logging
import math
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from nni.nas.execution import TrainingServiceExecutionEngine
from nni.nas.experiment import NasExperiment

from ..errors import ExperimentEndedError, LimitReachedError, TrialFailedError
from ..run.session import Session
from .trial import CafeNetTrial
from .watchdog import end_group

__all__ = ['Job', 'TrialRunner']

_logger = logging.getLogger(__name__)

_POLL = 1.0
"""Seconds between two looks at the trials."""

_OPEN = ('INITIALIZED', 'RUNNING', 'TUNER_NO_MORE_TRIAL')
"""States of an experiment in which NNI starts further trials."""

_ACTIVE = ('SUBMITTED', 'WAITING', 'RUNNING', 'UNKNOWN', 'ADD_RESUMED', 'ADD_CUSTOMIZED', 'ADD_HYPERPARAMETER')

_PATIENCE = 30.0
"""Seconds without an answer of the NNI manager after which it is taken for gone."""

_GRACE = 20.0
"""Seconds that a submitted trial may take to show up in an experiment that takes no more of them."""

_ERROR_LINES = 15


@dataclass
class Job:
    """A task on its way through the training service.

    Parameters
    ----------
    name
        What it is called in messages, such as ``'finalist 2'``.
    task
        What the trial is told to do.
    summary, details
        What the web UI shows of it: as axes and columns, and on demand.

    Attributes
    ----------
    status
        NNI's word for its state; ``'SUBMITTED'`` until NNI shows it.
    trial
        Id of the trial in NNI; empty until it is known.
    """

    name: str
    task: dict[str, Any]
    summary: dict[str, Any]
    details: dict[str, Any] = field(default_factory=dict)
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    status: str = 'SUBMITTED'
    trial: str = ''
    log: Path | None = None
    failures: int = 0
    model: CafeNetTrial | None = None

    @property
    def active(self) -> bool:
        """Whether it is waiting or running."""
        return self.status in _ACTIVE

    @property
    def succeeded(self) -> bool:
        """Whether its process ended well."""
        return self.status == 'SUCCEEDED'


class TrialRunner:
    """Runs tasks as trials.

    Parameters
    ----------
    engine
        NNI's training-service engine.
    session
        Tells trials what to do.
    path
        The folder of the run, as the machines of the trials see it.
    """

    def __init__(self, engine: TrainingServiceExecutionEngine, session: Session, path: str) -> None:
        self.engine = engine
        self.session = session
        self.path = path
        self.experiment: NasExperiment = engine.nodejs_binding
        self.concurrency = 1
        self._limit: float = math.inf
        self._used = 0
        self._open = True
        self._jobs: dict[str, Job] = {}
        self._others: dict[str, Any] = {}
        self._polled = self._was_open = 0.0
        self._heard = time.monotonic()

    # --- the experiment ---------------------------------------------------------------------------

    @property
    def trials_left(self) -> float:
        """How many more trials the experiment may have (``max_trial_number``)."""
        return max(0, self._limit - self._used)

    @property
    def is_open(self) -> bool:
        """Whether the experiment has time left."""
        return self._open or self.trials_left == 0

    @property
    def may_submit(self) -> bool:
        """Whether the experiment takes further trials."""
        return self._open and self.trials_left > 0

    def poll(self, *, now: bool = False) -> None:
        """Look at the experiment and its trials, at most once a second.

        Raises
        ------
        ExperimentEndedError
            If the NNI manager is gone.
        """
        if not now and time.monotonic() - self._polled < _POLL:
            return
        self.session.beat()
        self._check_manager()
        try:
            status = self.experiment.get_status()
            parameters = self.experiment.get_experiment_profile()['params']
            trials = self.experiment.list_trial_jobs()
        except (requests.exceptions.RequestException, OSError) as error:
            self._silent(error)
            return
        self._polled = self._heard = time.monotonic()
        if status == 'ERROR':
            raise self._ended('the NNI manager reports an error')
        self.concurrency = int(parameters['trialConcurrency'])
        limit = parameters.get('maxTrialNumber')
        self._limit = math.inf if limit is None else int(limit)
        self._open = status in _OPEN
        self._was_open = self._polled if self._open else self._was_open
        self._others = {}
        self._used = len(trials) + sum(job.status == 'SUBMITTED' for job in self._jobs.values())
        for trial in trials:
            self._update(trial)

    def _update(self, trial: Any) -> None:
        parameters = trial.hyperParameters[0].parameters if trial.hyperParameters else {}
        job = self._jobs.get(parameters.get('task', '') if isinstance(parameters, Mapping) else '')
        if job is None or (job.trial and job.trial != trial.trialJobId):
            if trial.status in _ACTIVE and parameters.get('run') == self.path:
                self._others[trial.trialJobId] = trial
            return
        if not job.trial:
            self._assign(job, trial)
        if trial.logPath:
            job.log = Path(trial.logPath.partition('://')[2].partition(':')[2] or trial.logPath)
        job.status = trial.status

    def _assign(self, job: Job, trial: Any) -> None:
        job.trial = trial.trialJobId
        parameter = trial.hyperParameters[0].parameter_id
        self.session.assign(job.trial, {**job.task, 'name': job.name, 'task': job.key, 'parameter_id': parameter})

    def _check_manager(self) -> None:
        """Notice the end of the manager, which is a child of this process.

        Raises
        ------
        KeyboardInterrupt
            If somebody stopped it: as Ctrl-C does.
        ExperimentEndedError
            If it failed or was killed. Its trials are ended, too.
        """
        process = self.experiment._proc
        code = process.poll() if isinstance(process, subprocess.Popen) else None
        if code is None:
            return
        if code == 0:
            _logger.warning('The experiment was stopped by nnictl or by another process. %s', self._how_to_go_on())
            self._let_go()
            raise KeyboardInterrupt
        raise self._ended(f'the NNI manager (process {process.pid}) has ended with exit code {code}')

    def _silent(self, error: Exception) -> None:
        """Put up with a manager that does not answer, for a while."""
        if time.monotonic() - self._heard > _PATIENCE:
            raise self._ended(f'the NNI manager has not answered for {_PATIENCE:.0f} s') from error
        time.sleep(0.2)

    def _ended(self, why: str) -> ExperimentEndedError:
        experiment = self.experiment
        log = Path(experiment.config.canonical_copy().experiment_working_directory) / experiment.id / 'log'
        errors = _errors(log / 'nnimanager.log')
        errors = f' The last errors in {log / "nnimanager.log"}:\n{errors}\n' if errors else ' '
        message = f'The experiment has ended before its run: {why}.{errors}{self._how_to_go_on()}'
        process = experiment._proc
        self._let_go()
        if process is not None:
            end_group(process.pid, grace=0.0)
        return ExperimentEndedError(message)

    def _how_to_go_on(self) -> str:
        return (
            'Nothing that was trained or scored is lost. To go on: NasExperiment(space, evaluator, strategy, config, '
            f'id={self.experiment.id!r}).resume(port).'
        )

    def _let_go(self) -> None:
        """Keep NNI from waiting for a manager that is gone, and from five tracebacks about it."""
        for name in ('nni.runtime.command_channel.websocket.channel', 'nni.runtime.tuner_command_channel.channel'):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.engine._channel_listen_stop_event.set()
        self.engine._channel._channel._closing = True
        self.experiment._proc = None

    # --- jobs -------------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Hand a job to the training service, or to the trial that did it before the experiment was resumed."""
        self._jobs[job.key] = job
        for trial in self._others.values():
            former = self.session.assigned(trial.trialJobId)
            if former is not None and former['name'] == job.name:
                job.task, job.status = {**former, **job.task}, trial.status
                self._assign(job, trial)
                self._jobs[trial.hyperParameters[0].parameters['task']] = job
                del self._others[job.trial]
                return
        job.status, job.trial = 'SUBMITTED', ''
        job.model = CafeNetTrial(self.path, job.key, job.summary, job.details)  # the engine keeps a weak reference
        self._used += 1
        self.engine.submit_models(job.model)

    def retire_others(self, names: Sequence[str]) -> None:
        """Let trials end that NNI started again when the experiment was resumed, but for those with some names."""
        self.poll(now=True)
        for trial in list(self._others.values()):
            former = self.session.assigned(trial.trialJobId)
            if former is None or former['name'] not in names:
                self._assign(Job('none', {'stage': 'none'}, {}), trial)

    def run(
        self,
        jobs: Sequence[Job],
        *,
        done: Callable[[Job], bool],
        ended: Callable[[Job], None] = lambda job: None,
    ) -> list[Job]:
        """Run jobs side by side, as many as the experiment's concurrency allows; each that fails once more.

        Parameters
        ----------
        jobs
            The jobs.
        done
            Whether a job has left its result in the folder of the run.
        ended
            Called with each job when it has come to its end, well or not.

        Returns
        -------
        The jobs that have no result: they failed twice, or the experiment's limits did not let them start.
        """
        waiting, running = list(jobs), list[Job]()
        lost: list[Job] = []
        self.retire_others([job.name for job in jobs])
        while waiting or running:
            self.poll()
            for job in [job for job in running if not job.active or self._never_starts(job)]:
                running.remove(job)
                if done(job):
                    ended(job)
                elif job.active or self.failed_for_good(job):
                    lost.append(job)
                    ended(job)
                else:
                    waiting.insert(0, job)
            while waiting and len(running) < self.concurrency and self.may_submit:
                running.append(waiting.pop(0))
                self.submit(running[-1])
            if waiting and not running and not self.may_submit:
                raise self.limit_reached()
            time.sleep(0.1)
        return lost

    def _never_starts(self, job: Job) -> bool:
        return job.status == 'SUBMITTED' and not self._open and time.monotonic() - self._was_open > _GRACE

    def failed_for_good(self, job: Job) -> bool:
        """Count and log a failure of a job; whether it was the second."""
        job.failures += 1
        message = self.failure(job)
        if job.failures == 1:
            _logger.warning('%s It is tried once more.', message)
            self._jobs = {key: other for key, other in self._jobs.items() if other is not job}
            job.key = uuid.uuid4().hex
            return False
        _logger.error('%s', message)
        return True

    def limit_reached(self) -> LimitReachedError:
        """Return the error that says which limit of the experiment lets no further trials start."""
        limit = (
            f'max_trial_number={self._limit} is reached' if self.trials_left == 0 else 'max_experiment_duration is over'
        )
        return LimitReachedError(
            f'The experiment takes no more trials: {limit}. What was trained and scored so far is kept; raise the limit '
            "in the experiment's config and resume it to go on."
        )

    def failure(self, job: Job) -> str:
        """Say how a job failed: with what error, and where its log is."""
        how = 'was killed or cancelled' if job.status == 'USER_CANCELED' else f'has ended as {job.status}'
        text = f'Trial {job.trial or "?"} ({job.name}) {how}.'
        if job.log is None:
            return text
        lines = _traceback(job.log / 'trial.stderr')
        return f'{text} Its log is in {job.log}.' + (f' It ends with:\n{lines}\n' if lines else '')

    def error(self, job: Job) -> TrialFailedError:
        """Return the error for a job without which the run cannot go on."""
        return TrialFailedError(self.failure(job))


def _traceback(path: Path) -> str:
    """Return the end of the last traceback in a log, indented."""
    lines = _lines(path)
    starts = [number for number, line in enumerate(lines) if line.startswith('Traceback (most recent call last)')]
    return _indented(lines[starts[-1] :][-_ERROR_LINES:]) if starts else ''


def _errors(path: Path) -> str:
    """Return the last errors in the log of the NNI manager, indented."""
    return _indented([line for line in _lines(path) if 'ERROR' in line][-3:])


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()]


def _indented(lines: Sequence[str]) -> str:
    return '\n'.join(f'    {line}' for line in lines)
