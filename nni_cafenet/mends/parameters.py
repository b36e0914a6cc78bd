"""Each trial runs the parameter that it was submitted with.

What NNI lacks: on this machine and on remote ones the NNI manager keeps parameters in one queue, and whichever trial
process asks first gets the first of them. With ``trial_concurrency`` above 1 trials swap parameters (12 of 22 in a
measurement): rows of the web UI and ``export_top_models`` then join the widths of one trial with the metrics of
another, and a trial that dies before it asks shifts all that follow. The manager is a Node program inside NNI's wheel;
it is started here with ``parameters.js``, which corrects it in memory.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import nni.experiment.launcher as launcher

__all__ = ['give_each_trial_its_own_parameter']

SCRIPT = Path(__file__).with_name('parameters.js')


def give_each_trial_its_own_parameter() -> None:
    """Have NNI managers that this process starts load ``parameters.js``."""
    released = launcher._start_rest_server
    if getattr(released, 'loads_script', False):
        return

    @functools.wraps(released)
    def start(*args: Any, **kwargs: Any) -> Any:
        before = os.environ.get('NODE_OPTIONS')
        # Quoted: a path may have blanks. The script takes the option away again, so that trials do not get it.
        os.environ['NODE_OPTIONS'] = f'--require {json.dumps(str(SCRIPT))} {before or ""}'.strip()
        try:
            return released(*args, **kwargs)
        finally:
            if before is None:
                del os.environ['NODE_OPTIONS']
            else:
                os.environ['NODE_OPTIONS'] = before

    start.loads_script = True  # type: ignore[attr-defined]
    launcher._start_rest_server = start
