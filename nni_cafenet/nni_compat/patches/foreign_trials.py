"""Trials that no strategy created do not end the main process.

Fault in NNI: a trial that was added through NNI's REST interface has no ``parameter_index`` and a ``parameter_id`` of
None. `NasExperiment.list_trial_jobs` then raises a ``TypeError``, and so does the main process. Missing values are
filled in here, and strategies skip such trials. `guard.js` and `bad_input.js` keep them out of new experiments.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from nni.experiment import data

__all__ = ['read_foreign_trials']

_OTHERWISE = {'parameter_id': -1, 'parameter_source': 'unknown', 'parameters': None, 'parameter_index': 0}


def read_foreign_trials() -> None:
    """Make NNI read trials whose parameters and metrics are not those of a strategy."""
    released = data.TrialJob.__init__
    if getattr(released, 'reads_foreign_trials', False):
        return

    @functools.wraps(released)
    def init(
        self: Any,
        *args: Any,
        hyperParameters: Sequence[str] = (),  # noqa: N803  (NNI's names)
        finalMetricData: Sequence[Any] = (),  # noqa: N803
        **others: Any,
    ) -> None:
        try:
            released(self, *args, hyperParameters=hyperParameters, finalMetricData=finalMetricData, **others)
        except (TypeError, ValueError):
            completed = [_completed(text) for text in hyperParameters]
            readable = [metric for metric in finalMetricData if _is_metric(metric)]
            released(self, *args, hyperParameters=completed, finalMetricData=readable, **others)

    init.reads_foreign_trials = True  # type: ignore[attr-defined]
    data.TrialJob.__init__ = init


def _completed(text: str) -> str:
    """Return a record of hyper-parameters with all fields that NNI needs."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, dict):
        found = {'parameters': found}
    fields = data.TrialHyperParameters.__dataclass_fields__
    known = {name: value for name, value in found.items() if name in fields and value is not None}
    return json.dumps({**_OTHERWISE, **known})


def _is_metric(metric: Any) -> bool:
    try:
        data.TrialMetricData(**metric)
    except (TypeError, ValueError):
        return False
    return isinstance(metric, Mapping)
