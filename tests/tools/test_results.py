"""The page of results is that of the recipes and of the runs that were added."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from nni_cafenet.cli.config import Configuration, Given
from nni_cafenet.cli.jobs import Compared, JobFolder, JobRecord
from nni_cafenet.testing import real_classes, real_scenes, write_coco

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


def test_a_run_on_miniature_data_has_a_table_of_its_own(tmp_path, monkeypatch):
    more = {'training.epochs': 3, 'model.input': [1, 3, 48, 48], 'model.args': {'width_mult': 0.5}, 'budget': '45%'}
    given = {'recipe': NAME, 'data.source': 'digits', 'output': str(tmp_path), **more}
    made = Configuration.checked(None, {path: Given(path, value) for path, value in given.items()})
    JobFolder(tmp_path).keep(JobRecord('search', made, {}, (1, 3, 48, 48), None))
    values = {0: 0.25, 1: 0.75}
    monkeypatch.setattr(
        'nni_cafenet.cli.jobs.compared_networks', lambda job: [Compared('full', {}, 1000, 10, values=values)]
    )
    name, record = TOOL['miniature_record'](str(tmp_path))
    assert name == NAME
    assert record['seeds'] == [1]
    assert 0.05 < record['most_frequent'] < 0.2
    text = TOOL['page']({'miniature': {name: record}})
    assert section(text).count('ours: not run yet') == 3  # it is no result of the recipe
    table = text.partition(f'### {NAME}, miniature data\n')[2]
    assert (
        "--set 'model.args={\"width_mult\": 0.5}' 'model.input=[1, 3, 48, 48]' training.epochs=3 budget=45%\n" in table
    )
    assert '--which searched uniform full --seed 1\n' in table
    assert '| full | 1.00K | 50.00 ± 35.36 | 0 1 | ours, miniature data |' in table


def test_boxes_have_no_most_frequent_answer(tmp_path):
    splits = {split: real_scenes(part, 2, size=64) for split, part in (('train', 'train'), ('val', 'test'))}
    write_coco(tmp_path / 'coco', splits, real_classes())
    given = {'data.source': f'coco:{tmp_path / "coco"}', 'seed': 0}
    assert TOOL['_most_frequent'](given) is None
    record = {'command': 'nni-cafenet search', 'set': ['a=1'], 'seeds': [], 'networks': [], 'most_frequent': None}
    text = TOOL['page']({'miniature': {'coco/ssdlite320_mobilenet_v3_large-50%': record}})
    table = text.partition('large-50%, miniature data\n')[2]
    assert 'box mAP' in table
    assert 'most frequent' not in table
