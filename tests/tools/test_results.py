"""The page of results is that of the recipes and of the runs that were added."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from nni_cafenet.cli.config import Configuration, Given
from nni_cafenet.cli.jobs import JobFolder, JobRecord

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / 'tools' / 'results.py'))
NAME = 'imagenet/mobilenet_v2-300M'


def section(text: str) -> str:
    return text.partition(f'## {NAME}\n')[2].partition('\n## ')[0]


def test_the_page_is_up_to_date():
    results = json.loads((ROOT / 'docs' / 'results.json').read_text())
    assert (ROOT / 'docs' / 'results.md').read_text() == TOOL['page'](results), 'python tools/results.py'


def test_cells_without_a_run_say_so():
    rows = section(TOOL['page']({}))
    assert '| AutoSlim | 305M | 74.2 | | published; re-runs land 1.2 to 1.9 lower |' in rows
    assert rows.count('ours: not run yet') == 3


def test_a_run_fills_its_row():
    networks = [{'network': 'searched 1', 'macs': 299_000_000, 'values': {'0': 0.731, '1': 0.735}}]
    rows = section(TOOL['page']({NAME: {'networks': networks}}))
    assert '| searched 1 | 299M | 73.30 ± 0.28 | 0 1 | ours |' in rows
    assert 'not run yet' not in rows


@pytest.mark.parametrize(('more', 'says'), [({'training.epochs': 3}, 'training.epochs: 300 there, 3 now'), ({}, None)])
def test_a_run_that_departs_from_its_recipe_is_refused(tmp_path, more, says, monkeypatch):
    given = {'recipe': NAME, 'data.source': 'digits', 'output': str(tmp_path), **more}
    made = Configuration.checked(None, {path: Given(path, value) for path, value in given.items()})
    JobFolder(tmp_path).keep(JobRecord('search', made, {}, (1, 3, 224, 224), None))
    monkeypatch.setattr('nni_cafenet.cli.jobs.compared_networks', lambda job: [])
    if says is None:
        assert TOOL['record_of'](str(tmp_path)) == (NAME, {'networks': []})
        return
    with pytest.raises(ValueError, match=says):
        TOOL['record_of'](str(tmp_path))
