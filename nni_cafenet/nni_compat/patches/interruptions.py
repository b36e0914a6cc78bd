"""``NasExperiment.run`` raises the interruption of a run.

Fault in NNI: it treats Ctrl-C as the end of the experiment, and ``run`` returns normally, so that a script continues
without results.
"""

from __future__ import annotations

import functools
from typing import Any

from nni.nas.experiment import NasExperiment

from ...errors import RunInterrupted

__all__ = ['raise_interruptions']


def raise_interruptions() -> None:
    """Make NAS experiments of our strategies raise `RunInterrupted` once NNI has stopped them."""
    released = NasExperiment._run_impl
    if getattr(released, 'raises_interruptions', False):
        return

    @functools.wraps(released)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = released(self, *args, **kwargs)
        interruption = getattr(self.strategy, 'interruption', None)
        if interruption is not None:
            raise interruption
        if getattr(self.strategy, 'begun', None) is False:
            raise RunInterrupted('Interrupted before the run began. Start it again.')
        return result

    run.raises_interruptions = True  # type: ignore[attr-defined]
    NasExperiment._run_impl = run
