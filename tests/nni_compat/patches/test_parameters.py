from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import nni_node

from nni_cafenet.nni_compat.patches import manager_process

RACE = Path(__file__).with_name('race.js')
NODE = Path(nni_node.__path__[0])
SCRIPT = Path(manager_process.__file__).with_name('parameters.js')


def run_race(*options):
    """Run NNI's own class in its own Node; the second of two trials asks first."""
    executable = next(path for path in (NODE / 'node', NODE / 'node.exe') if path.exists())
    environment = {name: value for name, value in os.environ.items() if name != 'NODE_OPTIONS'}
    command = [executable, *options, RACE]
    finished = subprocess.run(
        command, cwd=NODE, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(finished.stdout)


def test_released_nni_gives_trials_the_parameters_of_others():
    assert run_race() == {'trial1': 'parameter0', 'trial0': 'parameter1', 'left': 0}


def test_each_trial_gets_its_own():
    assert run_race('--require', SCRIPT) == {'trial1': 'parameter1', 'trial0': 'parameter0', 'left': 0}
