"""A watchdog process that ends NNI's manager and its trials with the main process.

NNI's manager survives a killed main process: trials continue, the port stays in use, and a resumed experiment has two
managers on one database. The watchdog runs this file alone, without the package.
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
"""Seconds between SIGTERM and SIGKILL."""

_LOOK = 1.0
"""Seconds between checks of the manager."""


def ends_with_this_process(pid: int) -> Callable[[], None]:
    """End a process group when this process ends for any reason; the function returned releases the group.

    ``pid`` is that of its leader, NNI's manager. Does nothing on systems without process groups.
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
    """End a process group by SIGTERM, followed by SIGKILL after `grace` seconds."""
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
    """Wait for a release, the end of the group, or the end of the main process, then end the group.

    Forked children may keep the pipe open after the main process ends, hence the check of the parent id.
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
