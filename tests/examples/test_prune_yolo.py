"""examples/prune_yolo.py says what is missing; the whole of it runs where Ultralytics, no dependency, is installed."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / 'examples' / 'prune_yolo.py'


@pytest.mark.parametrize(
    ('arguments', 'installed', 'said'),
    [
        ([], False, 'ultralytics is not installed: pip install ultralytics'),
        (['--size', '100'], True, '--size 100 must be a multiple of 32'),
        (['--finetune-epochs', '0'], True, '--finetune-epochs 0 must be 1 or more'),
    ],
)
def test_bad_input_is_named(arguments, installed, said, monkeypatch, capsys):
    monkeypatch.setenv('YOLO_AUTOINSTALL', 'false')
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *rest: installed or None)
    monkeypatch.setattr(sys, 'argv', ['prune_yolo.py', *arguments])
    with pytest.raises(SystemExit):
        runpy.run_path(str(EXAMPLE), run_name='__main__')
    assert said in capsys.readouterr().err


@pytest.mark.sweep
@pytest.mark.skipif(importlib.util.find_spec('ultralytics') is None, reason='Ultralytics is not installed')
def test_the_whole_example(tmp_path, monkeypatch, capsys):
    few = ('--scenes=16', '--batch=8', '--epochs=1', '--finetune-epochs=1', '--supernet-epochs=1', '--size=64')
    monkeypatch.setattr(sys, 'argv', ['prune_yolo.py', f'--output={tmp_path}', *few])
    runpy.run_path(str(EXAMPLE), run_name='__main__')
    assert '| pruned | ' in capsys.readouterr().out
    assert (tmp_path / 'pruned.pt').exists()
    assert (tmp_path / 'pruned.onnx').exists()
