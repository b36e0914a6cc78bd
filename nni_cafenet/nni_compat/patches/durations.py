"""Experiments in this process keep to ``max_experiment_duration``.

Fault in NNI: its sequential engine takes the longest duration of a trial for that of all trials, and knows none of the
experiment.
"""

from __future__ import annotations

import functools
from typing import Any

from nni.experiment.config.utils import parse_time
from nni.nas.experiment.config import SequentialEngineConfig

__all__ = ['give_durations_to_sequential_engines']


def give_durations_to_sequential_engines() -> None:
    """Make NNI's sequential engine take the duration of the experiment."""
    released = SequentialEngineConfig._canonicalize
    if getattr(released, 'knows_experiments', False):
        return

    @functools.wraps(released)
    def canonicalize(self: Any, parents: Any) -> Any:
        duration = parents[0].max_experiment_duration if parents else None
        if self.max_duration is None and duration is not None:
            self.max_duration = parse_time(duration)
        return released(self, parents)

    canonicalize.knows_experiments = True  # type: ignore[attr-defined]
    SequentialEngineConfig._canonicalize = canonicalize
