from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import nni.experiment.launcher as launcher
import nni_node
import pytest

from nni_cafenet.mends import mend_nni, parameters

RACE = Path(__file__).with_name('race.js')
NODE = Path(nni_node.__path__[0])


def run_race(options):
    """Run NNI's own class in its own Node; the second of two trials asks first."""
    executable = next(path for path in (NODE / 'node', NODE / 'node.exe') if path.exists())
    environment = {name: value for name, value in os.environ.items() if name != 'NODE_OPTIONS'}
    finished = subprocess.run(
        [executable, RACE],
        cwd=NODE,
        env={**environment, **options},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(finished.stdout)


@pytest.fixture
def options_of_the_manager(monkeypatch):
    """``options_of_the_manager()``: what ``NODE_OPTIONS`` is while NNI starts its manager."""
    seen = []

    def released(*args, **kwargs):
        seen.append(os.environ.get('NODE_OPTIONS'))
        return args, kwargs

    monkeypatch.setattr(launcher, '_start_rest_server', released)
    parameters.give_each_trial_its_own_parameter()

    def start():
        assert launcher._start_rest_server('args', run_mode='background') == (('args',), {'run_mode': 'background'})
        return seen[-1]

    return start


def test_released_nni_gives_trials_the_parameters_of_others():
    assert run_race({}) == {'trial1': 'parameter0', 'trial0': 'parameter1', 'left': 0, 'options': None}


@pytest.mark.parametrize('before', [None, '--no-warnings'])
def test_each_trial_gets_its_own_and_the_environment_as_it_was(options_of_the_manager, monkeypatch, before):
    monkeypatch.delenv('NODE_OPTIONS', raising=False)
    if before is not None:
        monkeypatch.setenv('NODE_OPTIONS', before)
    options = options_of_the_manager()
    assert os.environ.get('NODE_OPTIONS') == before
    expected = {'trial1': 'parameter1', 'trial0': 'parameter0', 'left': 0, 'options': before}
    assert run_race({'NODE_OPTIONS': options}) == expected


def test_a_path_with_blanks(options_of_the_manager, monkeypatch, tmp_path):
    script = tmp_path / 'a "b" c' / 'parameters.js'
    script.parent.mkdir()
    script.write_text(parameters.SCRIPT.read_text())
    monkeypatch.setattr(parameters, 'SCRIPT', script)
    monkeypatch.delenv('NODE_OPTIONS', raising=False)
    assert run_race({'NODE_OPTIONS': options_of_the_manager()})['trial1'] == 'parameter1'


def test_the_environment_is_put_back_where_the_manager_does_not_start(monkeypatch):
    def fails(*args):
        raise OSError('no such program')

    monkeypatch.delenv('NODE_OPTIONS', raising=False)
    monkeypatch.setattr(launcher, '_start_rest_server', fails)
    parameters.give_each_trial_its_own_parameter()
    with pytest.raises(OSError, match='no such program'):
        launcher._start_rest_server('args')
    assert 'NODE_OPTIONS' not in os.environ


def test_mending_twice_changes_nothing():
    mend_nni()
    before = launcher._start_rest_server
    mend_nni()
    assert launcher._start_rest_server is before
