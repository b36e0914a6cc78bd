"""The manager and its trials end with the main process, however that ends.

NNI's manager goes on for ever when the main process is killed: trials run to their end, the port stays taken, and an
experiment that is resumed has two managers on one data base. So a small process waits for the end of the main process, and
then ends the manager's process group. It runs this file alone, without the package.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

__all__ = ['end_group', 'ends_with_this_process']

_GRACE = 15.0
"""Seconds that the manager has to stop its trials before it is killed."""

_LOOK = 1.0
"""Seconds between two looks whether the manager still lives."""


def ends_with_this_process(pid: int) -> Callable[[], None]:
    """Let a process group end when this process ends, however that happens.

    Parameters
    ----------
    pid
        Id of the process that leads the group: NNI's manager, with its trials. On a system without process groups nothing
        is done.

    Returns
    -------
    What to call to let the group live on.
    """
    if not hasattr(os, 'killpg'):
        return lambda: None
    command = [sys.executable, '-I', '-S', __file__, str(pid), str(os.getpid())]
    watchdog = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def release() -> None:
        with contextlib.suppress(OSError):
            watchdog.communicate(b'done')

    return release


def end_group(pid: int, grace: float = _GRACE) -> None:
    """End a process group: by SIGTERM, and by SIGKILL what is left after some seconds."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGTERM)
        end = time.monotonic() + grace
        while time.monotonic() < end:
            os.killpg(pid, 0)
            time.sleep(0.1)
        os.killpg(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _watch(pid: int, main: int) -> None:
    """Wait for word from the main process that all is well, for the end of the group, or for the end of the main process.

    A process that the main process has forked may hold the pipe open after its death; then it is no longer the parent.
    """
    while _lives(pid):
        if select.select([sys.stdin], [], [], _LOOK)[0]:
            if sys.stdin.buffer.read() == b'done':
                return
            break
        if os.getppid() != main:
            break
    end_group(pid)


if __name__ == '__main__':
    _watch(int(sys.argv[1]), int(sys.argv[2]))
