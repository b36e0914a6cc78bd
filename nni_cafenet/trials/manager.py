"""The NNI manager, a child of the main process: its end is noticed at once, and said without NNI's noise about it."""

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
"""Seconds without an answer of the NNI manager after which it is taken for gone."""

_CHANNEL = 'nni.runtime.command_channel.websocket.channel'


class Manager:
    """The NNI manager of an experiment.

    Parameters
    ----------
    engine
        NNI's training-service engine.
    """

    def __init__(self, engine: TrainingServiceExecutionEngine) -> None:
        self.engine = engine
        self.experiment: NasExperiment = engine.nodejs_binding
        process = self.experiment._proc
        self._process = process if isinstance(process, subprocess.Popen) else None
        started = time.time() if self._process is None else psutil.Process(self._process.pid).create_time()
        self._started = time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(started))  # as in its log
        self._heard = time.monotonic()
        self._quieten()

    def _quieten(self) -> None:
        """Keep NNI's listening thread from trying to reach a manager that is gone: ten seconds, five tracebacks."""
        channel = self.engine._channel._channel
        connect = channel._ensure_conn

        def ensure_connection() -> object:
            if not self.gone():
                return connect()
            if threading.current_thread() is self.engine._channel_listen_thread:
                raise SystemExit  # ends a thread without a word
            raise ConnectionError('The NNI manager has ended.')

        channel._ensure_conn = ensure_connection
        logger = logging.getLogger(_CHANNEL)
        for former in [each for each in logger.filters if isinstance(each, _Quiet)]:
            logger.removeFilter(former)
        logger.addFilter(_Quiet(self))

    def gone(self, within: float = 0.0) -> bool:
        """Whether it has ended, or ends within some seconds."""
        if self._process is None:
            return False
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within)
        return self._process.poll() is not None

    # --- its end ----------------------------------------------------------------------------------

    def check(self) -> None:
        """Notice that it has ended.

        Raises
        ------
        KeyboardInterrupt
            If somebody stopped it: as Ctrl-C does.
        nni_cafenet.errors.ExperimentEndedError
            If it failed or was killed. Its trials are ended, too.
        """
        if not self.gone() or self._process is None:
            return
        code, errors = self._process.poll(), self._errors()
        if code == 0 and not errors:
            self.experiment._proc = None  # nothing is left to be stopped
            raise KeyboardInterrupt('The experiment was stopped by nnictl or by another process.')
        raise self.ended(f'the NNI manager (process {self._process.pid}) has ended with exit code {code}')

    def answered(self) -> None:
        """Take note that it answers."""
        self._heard = time.monotonic()

    def silent(self, error: Exception) -> None:
        """Put up with a manager that does not answer, for a while.

        Raises
        ------
        nni_cafenet.errors.ExperimentEndedError
            If it has not answered for long.
        """
        if time.monotonic() - self._heard > _PATIENCE:
            raise self.ended(f'the NNI manager has not answered for {_PATIENCE:.0f} s') from error
        time.sleep(0.2)

    def ended(self, why: str) -> ExperimentEndedError:
        """End what is left of it and of its trials, and return the error that says so."""
        errors = self._errors()
        errors = f' The last errors in {self._log}:\n{errors}\n' if errors else ' '
        if self._process is not None:
            end_group(self._process.pid, grace=0.0)
            self.gone(within=10.0)
        self.experiment._proc = None
        return ExperimentEndedError(f'The experiment has ended before its run: {why}.{errors}{self.resume_hint}')

    @property
    def resume_hint(self) -> str:
        """What a user does to resume the experiment."""
        return (
            'Nothing that was trained or scored is lost. To continue: NasExperiment(space, evaluator, strategy, config, '
            f'id={self.experiment.id!r}).resume(port).'
        )

    @property
    def _log(self) -> Path:
        working = Path(self.experiment.config.canonical_copy().experiment_working_directory)
        return working / self.experiment.id / 'log' / 'nnimanager.log'

    def _errors(self) -> str:
        """Return the last errors that it has logged, indented; the log of a resumed experiment goes on."""
        lines = [line for line in lines_of(self._log) if 'ERROR' in line and line[1:20] >= self._started]
        return indented(lines[-3:])


class _Quiet(logging.Filter):
    """Drops what NNI logs about the connection to a manager that is gone."""

    def __init__(self, manager: Manager) -> None:
        super().__init__()
        self._manager = manager

    def filter(self, record: logging.LogRecord) -> bool:
        return not self._manager.gone(within=1.0)  # connections break a moment before the process ends


def lines_of(path: Path) -> list[str]:
    """Return the lines of a log that are not blank; none if it is not there."""
    try:
        text = path.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()]


def indented(lines: Sequence[str]) -> str:
    """Return lines as a part of a message."""
    return '\n'.join(f'    {line}' for line in lines)
