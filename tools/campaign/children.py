"""Runs in processes of their own: forked from this one, which has imported everything, or started afresh."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .faults import Fault, Operation, watch
from .outcome import contents
from .stages import RUNS

__all__ = ['Ended', 'run_child', 'run_here']


@dataclass(frozen=True)
class Ended:
    """
    How a process ended.

    Parameters
    ----------
    code
        Its exit code; negative: the signal that killed it; None: it took too long and was killed.
    seconds
        How long it took.
    found
        What it found, and what is in the folder; None if it has not come to its end.
    operations
        Its file operations; empty if it has not come to its end.
    """

    code: int | None
    seconds: float
    found: dict[str, Any] | None
    operations: list[Operation]


def run_child(
    name: str, work: Path, fault: Fault | None = None, *, fresh: bool = False, limit: float = 1800.0
) -> Ended:
    """
    Do a run, or what is left of it, in a process of its own.

    Parameters
    ----------
    name
        One of `RUNS`.
    work
        Keeps the run in ``run``, and in ``log.txt`` what its processes print.
    fault
        What happens to the process.
    fresh
        Start Python anew, in place of a fork of this process. It takes seconds longer, and must not make a difference.
    limit
        Seconds after which it is killed: many, since a machine may be busy.
    """
    work.mkdir(parents=True, exist_ok=True)
    result = work / 'result.json'
    result.unlink(missing_ok=True)
    start = time.monotonic()
    if fresh:
        text = json.dumps(None if fault is None else asdict(fault))
        command = [sys.executable, '-m', 'campaign', name, str(work), text]
        with open(work / 'log.txt', 'ab') as log:
            pid = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=log, stderr=log).pid
    else:
        pid = os.fork()
        if pid == 0:
            _run_and_exit(name, work, fault)
    code = _wait(pid, limit)
    seconds = time.monotonic() - start
    record = json.loads(result.read_text()) if result.exists() else {'found': None, 'operations': []}
    return Ended(code, seconds, record['found'], [Operation(*each) for each in record['operations']])


def run_here(name: str, work: Path, fault: Fault | None) -> None:
    """Do a run in this process, and write down what it found."""
    # All processes of a campaign have one home: a key in it signs files.
    home, temporary, scratch = work.parent / 'home', work / 'tmp', work / 'scratch'
    os.environ.update(HOME=str(home), XDG_CONFIG_HOME=str(home / '.config'), TMPDIR=str(temporary))
    for folder in (home, temporary, scratch):
        folder.mkdir(exist_ok=True)
    operations = watch([work / 'run'], fault)
    found = RUNS[name].call(work / 'run', scratch)
    seen = operations()
    record = {
        'found': {'returned': json.loads(json.dumps(found)), 'files': contents(work / 'run')},
        'operations': [[each.name, each.path] for each in seen],
    }
    (work / 'result.json').write_text(json.dumps(record))


def _run_and_exit(name: str, work: Path, fault: Fault | None) -> None:
    code = 1
    try:
        log = os.open(work / 'log.txt', os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        run_here(name, work, fault)
        code = 0
    except KeyboardInterrupt:
        traceback.print_exc()
        code = 130
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001  this process ends here, whatever it was
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, limit: float) -> int | None:
    end = time.monotonic() + limit
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.02)
