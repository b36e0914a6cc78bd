from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'benchmarks' / 'hub.py'


@pytest.fixture
def hub():
    spec = importlib.util.spec_from_file_location('hub_benchmark', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_space_in_both_ways(hub, tmp_path, capsys):
    hub.main(['--spaces', 'AutoFormer', '--draws', '1', '--output', str(tmp_path)])
    rows = json.loads((tmp_path / 'hub.json').read_text())
    assert [row['searched'] for row in rows] == ['channel groups', 'own labels']
    assert [row['verdict'] for row in rows] == ['exact', 'exact']
    assert all(0.3 < row['share'] < 1 for row in rows)
    assert (tmp_path / 'hub.md').read_text().strip() in capsys.readouterr().out


def test_what_fails_is_said(hub, monkeypatch):
    monkeypatch.setattr(hub, 'check', lambda *_: (_ for _ in ()).throw(RuntimeError('broken')))
    row = hub.row_of('DARTS', hub.CASES['DARTS'], 0, own_labels=False, draws=1)
    assert row['verdict'] == 'failed'
    assert 'broken' in hub.table([row])


def test_unknown_spaces_are_named(hub, capsys):
    with pytest.raises(SystemExit):
        hub.options_of(['--spaces', 'Nowhere'])
    assert "'Nowhere'" in capsys.readouterr().err
