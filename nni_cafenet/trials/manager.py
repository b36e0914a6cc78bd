"""Supervision of the NNI manager process."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from nni.nas.execution import TrainingServiceExecutionEngine
from nni.nas.experiment import NasExperiment

from ..errors import ExperimentEndedError
from .watchdog import end_group

__all__ = ['Manager', 'indented', 'lines_of']

_logger = logging.getLogger(__name__)

_PATIENCE = 30.0
"""Seconds without a response after which the NNI manager counts as ended."""

_CHANNEL = 'nni.runtime.command_channel.websocket.channel'


class Manager:
    """The NNI manager of an experiment, whose ``engine`` is NNI's training-service engine."""

    def __init__(self, engine: TrainingServiceExecutionEngine) -> None:
        self.engine = engine
        self.experiment: NasExperiment = engine.nodejs_binding
        process = self.experiment._proc
        self._process = process if isinstance(process, subprocess.Popen) else None
        started = time.time() if self._process is None else psutil.Process(self._process.pid).create_time()
        self._started = time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(started))  # format of its log
        self._heard = time.monotonic()
        self._quieten()

    def _quieten(self) -> None:
        """Keep NNI's listening thread from reconnecting to a manager that has ended, with a traceback per attempt."""
        channel = self.engine._channel._channel
        connect = channel._ensure_conn

        def ensure_connection() -> object:
            if not self.gone():
                return connect()
            if threading.current_thread() is self.engine._channel_listen_thread:
                raise SystemExit  # ends the thread silently
            raise ConnectionError('The NNI manager has ended.')

        channel._ensure_conn = ensure_connection
        logger = logging.getLogger(_CHANNEL)
        for former in [each for each in logger.filters if isinstance(each, _Quiet)]:
            logger.removeFilter(former)
        logger.addFilter(_Quiet(self))

    def gone(self, within: float = 0.0) -> bool:
        """Whether it has ended, or ends within a number of seconds."""
        if self._process is None:
            return False
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within)
        return self._process.poll() is not None

    # --- termination ------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise if the manager has ended: KeyboardInterrupt if it was stopped regularly, as by Ctrl-C.

        Else it failed or was killed; its trials are ended, and ExperimentEndedError is raised.
        """
        if not self.gone() or self._process is None:
            return
        code, errors = self._process.poll(), self._errors()
        if code == 0 and not errors:
            self.experiment._proc = None  # nothing left to stop
            raise KeyboardInterrupt('The experiment was stopped by nnictl or by another process.')
        raise self.ended(f'the NNI manager (process {self._process.pid}) has ended with exit code {code}')

    def answered(self) -> None:
        """Record a response."""
        self._heard = time.monotonic()

    def silent(self, error: Exception) -> None:
        """Handle a missing response: an ExperimentEndedError after 30 seconds without any."""
        if time.monotonic() - self._heard > _PATIENCE:
            raise self.ended(f'the NNI manager has not responded for {_PATIENCE:.0f} s') from error
        time.sleep(0.2)

    def ended(self, why: str) -> ExperimentEndedError:
        """End the manager and its trials; return the error to raise."""
        errors = self._errors()
        errors = f' The last errors in {self._log}:\n{errors}\n' if errors else ' '
        if self._process is not None:
            end_group(self._process.pid, grace=0.0)
            self.gone(within=10.0)
        self.experiment._proc = None
        return ExperimentEndedError(f'The experiment ended before its run: {why}.{errors}{self.resume_hint}')

    @property
    def resume_hint(self) -> str:
        """A sentence that tells users how to resume the experiment."""
        return (
            'All finished trainings and scores are kept. To continue: NasExperiment(space, evaluator, strategy, config, '
            f'id={self.experiment.id!r}).resume(port).'
        )

    @property
    def _log(self) -> Path:
        working = Path(self.experiment.config.canonical_copy().experiment_working_directory)
        return working / self.experiment.id / 'log' / 'nnimanager.log'

    def _errors(self) -> str:
        """Return the last errors logged by this process, indented; resumed experiments append to the log."""
        lines = [line for line in lines_of(self._log) if 'ERROR' in line and line[1:20] >= self._started]
        return indented(lines[-3:])


class _Quiet(logging.Filter):
    """Drops NNI's log records about the lost connection to a manager that has ended."""

    def __init__(self, manager: Manager) -> None:
        super().__init__()
        self._manager = manager

    def filter(self, record: logging.LogRecord) -> bool:
        return not self._manager.gone(within=1.0)  # connections break a moment before the process ends


def lines_of(path: Path) -> list[str]:
    """Return the non-blank lines of a log; empty if it is missing."""
    try:
        text = path.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()]


def indented(lines: Sequence[str]) -> str:
    """Indent lines for a message."""
    return '\n'.join(f'    {line}' for line in lines)
