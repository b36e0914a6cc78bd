"""What NNI carries to a trial process: where the run is. What to do there stands in the run's folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nni
import nni.trial
from nni.nas.space import ExecutableModelSpace, ModelStatus

from ..stages import RunFolder, reports_may_fail
from .heartbeat import TrialClient
from .tasks import run_task

__all__ = ['CafeNetTrial']


class CafeNetTrial(ExecutableModelSpace):
    """One trial of a run.

    NNI's local training service hands parameters out in the order in which processes ask for them, not to the trials that
    they are recorded for. So a parameter only says where the run is; what a trial does, the main process assigns to the
    id of its job.

    Parameters
    ----------
    path
        The folder of the run, as the trial's machine sees it.
    task
        Name of the task, by which the main process knows the trial again.
    summary
        ``mutation_summary``: what the web UI draws as axes and shows as columns.
    details
        What it shows on demand.
    """

    def __init__(self, path: str, task: str, summary: Mapping[str, Any], details: Mapping[str, Any]) -> None:
        super().__init__(ModelStatus.Frozen)
        self.evaluator = None
        self.sample = None
        self.path = path
        self.task = task
        self.summary = dict(summary)
        self.details = dict(details)

    def _dump(self) -> dict[str, Any]:
        return {'mutation_summary': self.summary, 'details': self.details, 'task': self.task, 'run': self.path}

    @classmethod
    def _load(cls, **parts: Any) -> CafeNetTrial:
        return cls(parts['run'], parts['task'], parts['mutation_summary'], parts['details'])

    def extra_repr(self) -> str:
        """Return the task and the folder."""
        return f'task={self.task!r}, run={self.path!r}'

    def execute(self) -> None:
        """Do what the main process has assigned to this process (called by NNI in the trial process)."""
        path = Path(self.path)
        if not path.is_dir():
            raise FileNotFoundError(
                f'{path} is not there, on the machine of this trial. The folder of the run must be shared by all machines: '
                'give CafeNet(directory=..., trial_directory=...), the second as the machines of the trials see it.'
            )
        seat = TrialClient(path, os.environ.get('NNI_TRIAL_JOB_ID', nni.get_trial_id()))
        task = seat.wait_for_task()
        seat.watch()
        if nni.trial._params is not None:  # results belong to the trial that runs, whosever parameter came
            nni.trial._params['parameter_id'] = task['parameter_id']
        with reports_may_fail():
            run_task(RunFolder(path), task)
