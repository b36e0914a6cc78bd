"""The NNI manager gets more time to start.

Fault in NNI: it waits 3 s for its manager's web server and then fails with ``ConnectionError``. On a busy machine, such
as with trials of another experiment, the manager takes longer.
"""

from __future__ import annotations

import contextlib
import functools
import time
from typing import Any

import nni.experiment.launcher as launcher
from nni.experiment import rest

__all__ = ['wait_for_managers']

PATIENCE = 60.0  # seconds


def wait_for_managers() -> None:
    """Make NNI wait for managers that this process starts, as long as they live."""
    start, check = launcher._start_rest_server, launcher._check_rest_server
    if getattr(check, 'is_patient', False):
        return
    managers: list[Any] = []

    @functools.wraps(start)
    def remember(*args: Any, **kwargs: Any) -> Any:
        managers[:] = [start(*args, **kwargs)]
        return managers[0]

    @functools.wraps(check)
    def wait(port: int, *args: Any, **kwargs: Any) -> Any:
        end = time.monotonic() + PATIENCE
        while managers and managers[0].poll() is None and time.monotonic() < end:
            with contextlib.suppress(Exception):
                rest.get(port, '/check-status', kwargs.get('url_prefix'))
                break
            time.sleep(0.1)
        return check(port, *args, **kwargs)  # raises if there is still no answer

    wait.is_patient = True  # type: ignore[attr-defined]
    launcher._start_rest_server, launcher._check_rest_server = remember, wait
