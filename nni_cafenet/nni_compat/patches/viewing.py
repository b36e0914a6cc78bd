"""``nnictl view`` shows a NAS experiment that was stopped.

Fault in NNI: `NasExperiment` publishes the search space for the web UI, it stays in the experiment's database, and the
configuration that ``nnictl view`` reads from there is rejected: '`search_space` field can not be customized in NAS
experiment.' So it is removed before the manager stops.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

from nni.nas.experiment import NasExperiment

__all__ = ['leave_no_search_space']


def leave_no_search_space() -> None:
    """Make NAS experiments remove their search space from the database when they stop."""
    released = NasExperiment._stop_nni_manager
    if getattr(released, 'leaves_no_search_space', False):
        return

    @functools.wraps(released)
    def stop(self: Any) -> None:
        if self._proc is not None and self._action != 'view':
            with contextlib.suppress(Exception):  # stop even if the manager is gone
                self.update_search_space({})
        released(self)

    stop.leaves_no_search_space = True  # type: ignore[attr-defined]
    NasExperiment._stop_nni_manager = stop
