"""A resumed experiment gets the limits of its new configuration.

Fault in NNI: the manager of a resumed experiment takes its whole configuration from its database. So an experiment that
has used up ``max_trial_number`` or ``max_experiment_duration`` cannot continue with a higher one, and another
``trial_concurrency`` has no effect. They are sent again, as by an edit in the web UI.
"""

from __future__ import annotations

import functools
import inspect
import logging
from typing import Any

import nni.experiment.launcher as launcher
from nni.experiment import rest
from requests.exceptions import RequestException

__all__ = ['give_limits_to_resumed_experiments']

_logger = logging.getLogger(__name__)

_LIMITS = {
    'trialConcurrency': 'TRIAL_CONCURRENCY',
    'maxTrialNumber': 'MAX_TRIAL_NUM',
    'maxExperimentDuration': 'MAX_EXEC_DURATION',
}


def give_limits_to_resumed_experiments() -> None:
    """Make NNI send the limits of the configuration to the managers of experiments that this process resumes."""
    released = launcher.start_experiment
    if getattr(released, 'gives_limits', False):
        return

    @functools.wraps(released)
    def start(*args: Any, **kwargs: Any) -> Any:
        process = released(*args, **kwargs)
        given = inspect.signature(released).bind(*args, **kwargs).arguments
        if given['action'] == 'resume':
            _send_limits(given['config'], given['port'], given['url_prefix'])
        return process

    start.gives_limits = True  # type: ignore[attr-defined]
    launcher.start_experiment = start


def _send_limits(config: Any, port: int, prefix: str | None) -> None:
    wanted = config.json()
    try:
        for name, update in _LIMITS.items():
            profile = rest.get(port, '/experiment', prefix)
            if profile['params'].get(name) == wanted.get(name):
                continue
            profile['params'].pop(name, None)  # a missing key is no limit; null would be a limit of zero
            if wanted.get(name) is not None:
                profile['params'][name] = wanted[name]
            rest.put(port, f'/experiment?update_type={update}', profile, prefix)
    except RequestException as error:
        _logger.warning('The resumed experiment keeps its former limits: %s', error)
