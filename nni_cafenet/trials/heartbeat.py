"""Who works on a run: its main process, and the trials that it has confirmed.

Trials of a training service start whenever the service starts them, also again after the main process is gone, and
parameters may reach the wrong one. So a trial works only on what the main process has assigned to its job, in the folder
of the run, and ends when the main process that assigned it is no more, or has given way to another one.
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
"""Seconds between two looks at the folder."""

_BEAT = 5.0
"""Seconds between two signs of life of the main process."""

_SILENT = 300.0
"""Seconds without a sign of life after which the main process is taken for gone."""

_UNASSIGNED = 30.0
"""Seconds that a trial goes on after another main process took over, which may assign its job again."""


class RunHeartbeat:
    """The main process's side: it says that it lives, and what job works on what.

    Parameters
    ----------
    path
        The folder of the run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.token = uuid.uuid4().hex
        self._beats = 0
        self._last = 0.0
        self.beat()

    def beat(self) -> None:
        """Say that the main process lives; at most every few seconds."""
        if time.monotonic() - self._last >= _BEAT or not self._beats:
            self._beats += 1
            self._last = time.monotonic()
            write_record(self.path / 'session.json', {'session': self.token, 'beat': self._beats})

    def assigned(self, job: str) -> dict[str, Any] | None:
        """Return what a job was last told to do, by this main process or a former one."""
        return _read(_assignment(self.path, job))

    def assign(self, job: str, task: dict[str, Any]) -> None:
        """Tell the job of the training service with some id what to do."""
        write_record(_assignment(self.path, job), {**task, 'session': self.token})


class TrialClient:
    """A trial's side: it waits for its task, and leaves when it is no longer wanted.

    Parameters
    ----------
    path
        The folder of the run.
    job
        Its id in the training service.
    """

    def __init__(self, path: Path, job: str) -> None:
        self.path = path
        self.job = job
        self._claim = uuid.uuid4().hex

    def wait_for_task(self, timeout: float = 300.0) -> dict[str, Any]:
        """Return what the main process has assigned to this job.

        Raises
        ------
        TimeoutError
            If it does not: it is gone, or the trial is none of its own (a copy made in the web UI).
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            task = _read(_assignment(self.path, self.job))
            if task is not None and task.get('session') == self._session().get('session'):
                write_record(self._claims(), {'claim': self._claim})
                return task
            time.sleep(0.2)
        raise TimeoutError(
            f'Nobody assigned a task to trial {self.job} within {timeout:.0f} s. Its experiment is no longer run by a main '
            f'process, or the trial was added by hand. The run is in {self.path}: resume the experiment to go on.'
        )

    def watch(self) -> None:
        """Watch from a thread, for as long as this process lives, whether it is still wanted; end it if it is not."""
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
                _leave('The training service has started this trial again; the other process goes on.')
            if now - wanted > _UNASSIGNED:
                _leave('The experiment was resumed without this trial.')
            if now - heard > _SILENT:
                _leave(f'The main process of the experiment has been silent for {_SILENT:.0f} s. Resume it to go on.')

    def _session(self) -> dict[str, Any]:
        return _read(self.path / 'session.json') or {}

    def _claims(self) -> Path:
        return child_path(self.path, 'jobs', f'{self.job}.claim.json')


def _assignment(path: Path, job: str) -> Path:
    return child_path(path, 'jobs', f'{job}.json')


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return read_record(path, remedy='')
    except (OSError, ValueError):  # not there, or a shared file system is between two versions
        return None


def _leave(why: str) -> None:
    sys.stderr.write(f'{why}\n')
    sys.stderr.flush()
    os._exit(3)
