"""Examples that run in seconds when asked for little."""

from __future__ import annotations

import functools
import runpy
import sys
from pathlib import Path

import nni.nas.experiment.experiment as nni_experiment

EXAMPLES = Path(__file__).parents[1] / 'examples'


def test_native_space(tmp_path, monkeypatch, capsys):
    home = tmp_path / 'home'
    home.mkdir()
    monkeypatch.setattr(
        nni_experiment, 'Experiments', functools.partial(nni_experiment.Experiments, home_dir=str(home))
    )
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setattr(sys, 'argv', ['native_space.py', '--epochs=1', '--widths=8', f'--output={tmp_path / "run"}'])
    runpy.run_path(str(EXAMPLES / 'native_space.py'), run_name='__main__')
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("{'stem': ") or "{'stem': " in last
    assert last.endswith('MACs')
