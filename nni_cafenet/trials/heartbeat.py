"""Heartbeat of the main process and task assignments, in the run's folder.

A training service may restart trials after the main process has ended, and may deliver parameters to the wrong trial.
Hence a trial executes only the task assigned to its job id, and exits when the main process stops its heartbeat or another
main process does not confirm the assignment.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from ..utils import child_path, read_record, write_record

__all__ = ['RunHeartbeat', 'TrialClient']

_LOOK = 2.0
"""Seconds between checks of the folder."""

_BEAT = 5.0
"""Seconds between heartbeats."""

_SILENT = 300.0
"""Seconds without a heartbeat after which a trial exits."""

_UNASSIGNED = 30.0
"""Seconds that a trial waits for a new main process to confirm its task."""


class RunHeartbeat:
    """The main process's heartbeat and its assignment of tasks to jobs, in the folder of the run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.token = uuid.uuid4().hex
        self._beats = 0
        self._last = 0.0
        self.beat()

    def beat(self) -> None:
        """Write a heartbeat if one is due."""
        if time.monotonic() - self._last >= _BEAT or not self._beats:
            self._beats += 1
            self._last = time.monotonic()
            write_record(self.path / 'session.json', {'session': self.token, 'beat': self._beats})

    def assigned(self, job: str) -> dict[str, Any] | None:
        """Return the last task assigned to a job, by this or an earlier main process."""
        return _read(_assignment(self.path, job))

    def assign(self, job: str, task: dict[str, Any]) -> None:
        """Assign a task to a job id of the training service."""
        write_record(_assignment(self.path, job), {**task, 'session': self.token})


class TrialClient:
    """A trial that waits for its task and exits when it is obsolete; ``job`` is its id in the training service."""

    def __init__(self, path: Path, job: str) -> None:
        self.path = path
        self.job = job
        self._claim = uuid.uuid4().hex

    def wait_for_task(self, timeout: float = 300.0) -> dict[str, Any]:
        """Wait for the task of this job.

        Raises TimeoutError if none is assigned in time: the main process has ended, or the trial was added in the web
        UI.
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            task = _read(_assignment(self.path, self.job))
            if task is not None and task.get('session') == self._session().get('session'):
                write_record(self._claims(), {'claim': self._claim})
                return task
            time.sleep(0.2)
        raise TimeoutError(
            f'Trial {self.job} received no task within {timeout:.0f} s. The main process of its experiment has ended, or '
            f'the trial was added by hand. The run is in {self.path}: resume the experiment to continue.'
        )

    def watch(self) -> None:
        """Start a thread that ends this process when its task becomes obsolete."""
        threading.Thread(target=self._watch, name='cafenet-watch', daemon=True).start()

    def _watch(self) -> None:
        beat, heard, wanted = None, time.monotonic(), time.monotonic()
        while True:
            time.sleep(_LOOK)
            now, session = time.monotonic(), self._session()
            if session != beat:
                beat, heard = session, now
            task = _read(_assignment(self.path, self.job)) or {}
            if task.get('session') == session.get('session'):
                wanted = now
            claim = _read(self._claims()) or {}
            if claim.get('claim', self._claim) != self._claim:
                _leave('The training service restarted this trial in another process, which takes over.')
            if now - wanted > _UNASSIGNED:
                _leave('The experiment was resumed without this trial.')
            if now - heard > _SILENT:
                _leave(
                    f'The main process of the experiment has not responded for {_SILENT:.0f} s. Resume it to continue.'
                )

    def _session(self) -> dict[str, Any]:
        return _read(self.path / 'session.json') or {}

    def _claims(self) -> Path:
        return child_path(self.path, 'jobs', f'{self.job}.claim.json')


def _assignment(path: Path, job: str) -> Path:
    return child_path(path, 'jobs', f'{job}.json')


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return read_record(path, remedy='')
    except (OSError, ValueError):  # missing, or being replaced on a shared file system
        return None


def _leave(why: str) -> None:
    sys.stderr.write(f'{why}\n')
    sys.stderr.flush()
    os._exit(3)
