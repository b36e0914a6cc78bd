"""The parameter of an NNI trial: the path of the run, whose folder holds the task."""

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

    NNI's local training service delivers parameters in the order of requests, not to the trials they belong to. So a
    parameter only contains the path of the run on the trial's machine, and the main process assigns the task to the job
    id; ``task`` identifies the trial for it. ``summary`` (see `mutation_summary`) and ``details`` are for the web UI;
    ``name`` becomes a part of the trial's ID (``nni_compat/patches/records.js``).
    """

    def __init__(
        self, path: str, task: str, summary: Mapping[str, Any], details: Mapping[str, Any], name: str = ''
    ) -> None:
        super().__init__(ModelStatus.Frozen)
        self.evaluator = None
        self.sample = None
        self.path = path
        self.task = task
        self.summary = dict(summary)
        self.details = dict(details)
        self.name = name

    def _dump(self) -> dict[str, Any]:
        shown = {'mutation_summary': self.summary, 'details': self.details, 'name': self.name}
        return {**shown, 'task': self.task, 'run': self.path}

    @classmethod
    def _load(cls, **parts: Any) -> CafeNetTrial:
        return cls(parts['run'], parts['task'], parts['mutation_summary'], parts['details'], parts.get('name', ''))

    def extra_repr(self) -> str:
        """Return the task and the folder."""
        return f'task={self.task!r}, run={self.path!r}'

    def execute(self) -> None:
        """Execute the assigned task (called by NNI in the trial process)."""
        path = Path(self.path)
        if not path.is_dir():
            raise FileNotFoundError(
                f'{path} does not exist on the machine of this trial. All machines must share the folder of the run: give '
                'CafeNet(directory=..., trial_directory=...), the second being the path on the machines of the trials.'
            )
        seat = TrialClient(path, os.environ.get('NNI_TRIAL_JOB_ID', nni.get_trial_id()))
        task = seat.wait_for_task()
        seat.watch()
        if nni.trial._params is not None:  # report results under this trial's own parameter
            nni.trial._params['parameter_id'] = task['parameter_id']
        with reports_may_fail():
            run_task(RunFolder(path), task)
