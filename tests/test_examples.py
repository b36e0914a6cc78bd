"""Examples that run in seconds when asked for little."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / 'examples'


def test_native_space(tmp_path, monkeypatch, nni_home, capsys):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setattr(sys, 'argv', ['native_space.py', '--epochs=1', '--widths=8', f'--output={tmp_path / "run"}'])
    runpy.run_path(str(EXAMPLES / 'native_space.py'), run_name='__main__')
    last = capsys.readouterr().out.splitlines()[-1]
    assert "{'stem': " in last
    assert last.endswith('MACs')


def test_the_notebook_of_the_first_hour(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cells = json.loads((EXAMPLES / 'first_hour.ipynb').read_text())['cells']
    code = [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']
    names: dict = {}
    exec(code[0].partition('=')[0] + '= 2, 1, 4, 2', names)
    for cell in code[1:]:
        exec(cell, names)
    out = capsys.readouterr().out
    assert 'loss of the whole network' in out
    assert '| pruned' in out
    assert 'accuracy of a batch' in out
    assert (tmp_path / 'first-hour' / 'report.html').exists()
    assert not any(cell.get('outputs') for cell in cells)  # kept without results, which would go out of date
