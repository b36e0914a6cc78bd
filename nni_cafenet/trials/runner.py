"""Submission and supervision of trials from the main process."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
from nni.experiment.config.utils import parse_time
from nni.nas.execution import TrainingServiceExecutionEngine
from nni.nas.experiment import NasExperiment
from nni.nas.space import ExecutableModelSpace

from ..errors import LimitReachedError, TrialFailedError, first_line
from .heartbeat import RunHeartbeat
from .job import ACTIVE, Job
from .manager import Manager, indented, lines_of
from .trial import CafeNetTrial

__all__ = ['TrialRunner']

_logger = logging.getLogger(__name__)

_POLL = 1.0
"""Seconds between polls."""

_OPEN = ('INITIALIZED', 'RUNNING', 'TUNER_NO_MORE_TRIAL')
"""Experiment states in which NNI starts trials."""

_CLOSED = ('NO_MORE_TRIAL', 'DONE')
"""States after a limit was reached; if it is raised, NNI takes some seconds to start trials again."""

_GRACE = 20.0
"""Seconds that a submitted trial may take to appear in an experiment at its limit."""

_ERROR_LINES = 15


class TrialRunner:
    """Runs jobs as trials.

    ``session`` has the heartbeat and assigns tasks; ``path`` is the run's folder on the machines of the trials.
    ``concurrency`` is the experiment's number of parallel trials; it ``is_open`` while the experiment has time left.
    ``records`` counts the results shown as trials that have ended.
    """

    def __init__(self, engine: TrainingServiceExecutionEngine, session: RunHeartbeat, path: str) -> None:
        self.engine = engine
        self.session = session
        self.path = path
        self.manager = Manager(engine)
        self.experiment: NasExperiment = engine.nodejs_binding
        self.concurrency = 1
        self._limit: float = math.inf
        self._used = 0
        self.is_open = True
        self.records = 0
        self._jobs: dict[str, Job] = {}
        self._others: dict[str, Any] = {}
        self._polled, self._had_room = 0.0, time.monotonic()

    # --- the experiment ---------------------------------------------------------------------------

    @property
    def trials_left(self) -> float:
        """Trials left under ``max_trial_number``."""
        return max(0, self._limit - self._used)

    @property
    def may_submit(self) -> bool:
        """Whether the experiment accepts more trials."""
        return self.is_open and self.trials_left > 0

    def poll(self, *, now: bool = False) -> None:
        """Update the state of the experiment and its trials, at most once a second unless `now`.

        Raises KeyboardInterrupt or `ExperimentEndedError` if the NNI manager has ended (see `Manager.check`).
        """
        if not now and time.monotonic() - self._polled < _POLL:
            return
        self.session.beat()
        self.manager.check()
        try:
            status = self.experiment.get_status()
            profile = self.experiment.get_experiment_profile()
            listed = self.experiment.list_trial_jobs()
        except (requests.exceptions.RequestException, OSError) as error:
            self.manager.silent(error)
            return
        self._polled = time.monotonic()
        self.manager.answered()
        if status == 'ERROR':
            raise self.manager.ended('the NNI manager reports an error')
        parameters, limit = profile['params'], profile['params'].get('maxTrialNumber')
        self.concurrency = int(parameters['trialConcurrency'])
        self._limit = math.inf if limit is None else int(limit)
        self.is_open = status in _OPEN or (status in _CLOSED and not _is_over(profile))
        self._others = {}
        trials = [trial for trial in listed if 'ended' not in _parameters(trial)]
        self.records = max(self.records, len(listed) - len(trials))
        for trial in trials:
            self._update(trial)
        self._used = len(trials) + sum(job.status == 'SUBMITTED' for job in self._jobs.values())
        if self.is_open and self._used <= self._limit:
            self._had_room = self._polled

    def _update(self, trial: Any) -> None:
        parameters = _parameters(trial)
        job = self._jobs.get(parameters.get('task', ''))
        if job is None or (job.trial and job.trial != trial.trialJobId):
            if trial.status in ACTIVE and parameters.get('run') == self.path:
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

    # --- jobs -------------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Submit a job, or assign it to an equivalent trial that NNI has restarted."""
        self._jobs[job.key] = job
        for trial in self._others.values():
            if self._did(trial) == job.does:
                job.status = trial.status
                self._assign(job, trial)
                self._jobs[trial.hyperParameters[0].parameters['task']] = job
                del self._others[job.trial]
                return
        job.status, job.trial = 'SUBMITTED', ''
        # the engine keeps a weak reference
        job.model = CafeNetTrial(self.path, job.key, job.summary, job.details, job.title)
        self._used += 1
        try:
            self.engine.submit_models(job.model)
        except Exception:
            self.manager.check()
            raise

    def show(self, result: ExecutableModelSpace) -> None:
        """Show a result as a trial that has ended; the run continues if that fails, unless the manager has ended."""
        self.records += 1
        try:
            self.engine.submit_models(result)
        except Exception as error:  # noqa: BLE001  of the connection, or of NNI's serializer
            self.manager.check()
            _logger.warning('A result is not shown in the web UI (%s).', first_line(error, 200))

    def may_start(self, does: str) -> bool:
        """Whether a job of a kind (`Job.does`) can be submitted or assigned to a restarted trial."""
        return self.may_submit or does in self.started_again()

    def started_again(self) -> list[str]:
        """Return the kinds (`Job.does`) of trials that NNI restarted when the experiment was resumed."""
        return [self._did(trial) for trial in self._others.values()]

    def retire_others(self, but: Collection[str]) -> None:
        """End restarted trials, except those of the given kinds (`Job.does`)."""
        self.poll(now=True)
        self._retire([trial for trial in self._others.values() if self._did(trial) not in but])

    def release(self, does: str) -> None:
        """End restarted trials of one kind (`Job.does`)."""
        self._retire([trial for trial in self._others.values() if self._did(trial) == does])

    def _retire(self, trials: Sequence[Any]) -> None:
        for trial in trials:
            self._assign(Job('none', {'stage': 'none'}, {}), trial)

    def _did(self, trial: Any) -> str:
        former = self.session.assigned(trial.trialJobId)
        return '' if former is None else Job(former['name'], former, {}).does

    def run(
        self,
        jobs: Sequence[Job],
        *,
        done: Callable[[Job], bool],
        ended: Callable[[Job], None] = lambda job: None,
        seen: Callable[[Sequence[Job]], None] = lambda jobs: None,
    ) -> list[Job]:
        """Run jobs in parallel, up to the experiment's concurrency; retry each failed job once, and return the failed ones.

        A job is ``done`` if its result is in the folder of the run. ``ended`` is called with each job that has ended,
        successfully or not, ``seen`` at every poll with the running jobs. If a limit of the experiment prevents some
        jobs, LimitReachedError is raised after the running ones end.
        """
        waiting, running, lost = list(jobs), list[Job](), list[Job]()
        in_time = True
        self.retire_others(but=[job.does for job in jobs])
        while waiting or running:
            self.poll()
            seen(running)
            for job in [job for job in running if not job.active or self._never_starts(job)]:
                running.remove(job)
                if done(job):
                    ended(job)
                elif job.active:
                    in_time = False
                elif self.failed_for_good(job):
                    lost.append(job)
                    ended(job)
                else:
                    waiting.insert(0, job)
            for job in list(waiting):
                if len(running) < max(1, self.concurrency) and self.may_start(job.does):
                    waiting.remove(job)
                    running.append(job)
                    self.submit(job)
            if not running and (waiting or not in_time):
                raise self.limit_reached()
            time.sleep(0.1)
        return lost

    def _never_starts(self, job: Job) -> bool:
        return job.status == 'SUBMITTED' and time.monotonic() - self._had_room > _GRACE

    def failed_for_good(self, job: Job) -> bool:
        """Count and log a failure; return whether it was the second."""
        job.failures += 1
        message = self.failure(job)
        if job.failures == 1:
            _logger.warning('%s Trying once more.', message)
            self._jobs = {key: other for key, other in self._jobs.items() if other is not job}
            job.key = uuid.uuid4().hex
            return False
        _logger.error('%s', message)
        return True

    def limit_reached(self) -> LimitReachedError:
        """Return the error for the limit that prevents more trials."""
        limit = f'max_trial_number={self._limit} is reached' if self.is_open else 'max_experiment_duration is over'
        return LimitReachedError(
            f'The experiment accepts no more trials: {limit}. All finished trainings and scores are kept; raise the limit '
            "in the experiment's config and resume it."
        )

    def failure(self, job: Job) -> str:
        """Describe the failure of a job, with the end of its log."""
        how = 'was killed or canceled' if job.status == 'USER_CANCELED' else f'ended as {job.status}'
        text = f'Trial {job.trial or "?"} ({job.name}) {how}.'
        if job.log is None:
            return text
        lines = _traceback(job.log / 'trial.stderr', whole=job.status == 'FAILED')
        return f'{text} Its log is in {job.log}.' + (f' It ends with:\n{lines}\n' if lines else '')

    def error(self, job: Job) -> TrialFailedError:
        """Return the error for a job that the run cannot do without."""
        return TrialFailedError(
            f'{self.failure(job)} All finished trainings and scores are kept: fix the cause and resume the experiment.'
        )


def _is_over(profile: Mapping[str, Any]) -> bool:
    """Whether an experiment has reached its maximum duration."""
    limit = parse_time(profile['params'].get('maxExperimentDuration'))
    return limit is not None and profile['execDuration'] > limit


def _parameters(trial: Any) -> Mapping[str, Any]:
    parameters = trial.hyperParameters[0].parameters if trial.hyperParameters else {}
    return parameters if isinstance(parameters, Mapping) else {}


def _traceback(path: Path, *, whole: bool) -> str:
    """Return the end of the last traceback in a log, indented; without one, the end of the log if `whole`."""
    lines = lines_of(path)
    starts = [number for number, line in enumerate(lines) if line.startswith('Traceback (most recent call last)')]
    if starts:
        return indented(lines[starts[-1] :][-_ERROR_LINES:])
    return indented(lines[-_ERROR_LINES:]) if whole else ''
