"""An item in a fork of this process: it can take no memory, no random numbers and no time from others."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ['in_child']


def in_child(call: Callable[[], dict[str, Any]], log: Path, seconds: int | None = None) -> dict[str, Any]:
    """Return ``{'fields': what a call returns}``, or ``{'skipped': why}`` where it took too long.

    Parameters
    ----------
    call
        The call.
    log
        File of what it prints.
    seconds
        Processor time that it may take.

    Raises
    ------
    RuntimeError
        If it fails; with the last line of the log.
    """
    result = log.with_suffix('.json')
    result.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        _call_and_exit(call, log, result, seconds)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGXCPU:
        return {'skipped': f'takes over {seconds} s of processor time'}
    if code == 130:
        raise KeyboardInterrupt
    if code:
        lines = [line for line in log.read_text(errors='replace').splitlines() if line.strip()]
        raise RuntimeError(f'exit code {code}: {lines[-1][:300] if lines else "it printed nothing"}')
    return {'fields': json.loads(result.read_text())}


def _call_and_exit(call: Callable[[], dict[str, Any]], log: Path, result: Path, seconds: int | None) -> None:
    code = 1
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout = sys.stderr = os.fdopen(file, 'w', buffering=1)
        if seconds is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        result.write_text(json.dumps(call()))
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001  this process ends here, whatever it was
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
