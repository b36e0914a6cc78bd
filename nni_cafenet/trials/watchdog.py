"""The manager and its trials end with the main process, however that ends.

NNI's manager goes on for ever when the main process is killed: trials run to their end, the port stays taken, and an
experiment that is resumed has two managers on one data base. So a small process waits for the end of the main process, and
then ends the manager's process group. It runs this file alone, without the package.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

__all__ = ['end_group', 'manager_ends_with_this_process']

_GRACE = 15.0
"""Seconds that the manager has to stop its trials before it is killed."""


@contextlib.contextmanager
def manager_ends_with_this_process(pid: int | None) -> Iterator[None]:
    """Watch over a block: if this process dies in it, the manager with this process id and its trials end too.

    Parameters
    ----------
    pid
        Process id of the manager, which leads its process group; None, or a system without process groups: do nothing.
    """
    if pid is None or not hasattr(os, 'killpg'):
        yield
        return
    # The write end of the pipe is in no other process: when this one dies, the watchdog reads the end of it.
    watchdog = subprocess.Popen(
        [sys.executable, '-I', '-S', __file__, str(pid)], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            watchdog.communicate(b'done')


def end_group(pid: int, grace: float = _GRACE) -> None:
    """End a process group: by SIGTERM, and by SIGKILL what is left after some seconds."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGTERM)
        end = time.monotonic() + grace
        while time.monotonic() < end:
            os.killpg(pid, 0)
            time.sleep(0.1)
        os.killpg(pid, signal.SIGKILL)


if __name__ == '__main__':
    if sys.stdin.buffer.read() != b'done':
        end_group(int(sys.argv[1]))
