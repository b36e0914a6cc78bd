"""The quickstart, made short."""

from __future__ import annotations

import csv
import json

import pytest
import torch

from nni_cafenet import load_slim
from nni_cafenet.cli.quickstart import QuickstartOptions, accuracy, quickstart
from nni_cafenet.errors import ResumeError
from nni_cafenet.testing import StagedResNet

STAGES = ((8, 8), (4, 4, 4), (4, 4))
SHORT = QuickstartOptions(supernet_epochs=2, epochs=1, population=4, generations=2, trainings=2, stages=STAGES)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('quickstart')
    lines = []
    return folder, quickstart(folder, SHORT, lines.append), lines


def test_the_table_compares_three_networks_within_the_budget(run):
    _, result, lines = run
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in result.table.splitlines()]
    networks = {row[0]: row for row in rows[2:]}
    assert list(networks) == ['full', 'uniform', 'searched']
    macs = {name: int(row[1].replace(',', '')) for name, row in networks.items()}
    budget = 0.25 * macs['full']
    assert all(0.95 * budget <= macs[name] <= budget for name in ('searched', 'uniform'))
    assert lines[0].startswith('Space: 7 channel groups')


def test_the_folder_holds_what_other_tools_read(run):
    folder, result, _ = run
    assert json.loads((folder / 'widths.json').read_text())['widths'] == result.widths
    with (folder / 'history.csv').open() as file:
        records = list(csv.DictReader(file))
    assert 4 <= len(records) <= 8
    assert json.loads((folder / 'results.json').read_text())['accuracies'] == result.accuracies
    assert (folder / 'widths.svg').read_text().startswith('<svg')
    assert '| searched' in (folder / 'table.md').read_text()


def test_the_slim_network_loads_and_is_the_one_that_was_measured(run):
    folder, result, _ = run
    slim = load_slim(lambda: StagedResNet(STAGES, stem_stride=1), folder)
    assert accuracy(slim) == result.inherited
    images = torch.randn(3, 1, 8, 8)
    assert torch.equal(slim.eval()(images), result.slim.eval()(images))


def test_again_in_its_folder_it_does_nothing_twice(run):
    folder, result, _ = run
    files = ['supernet.ckpt', 'history.jsonl', 'trainings.jsonl']
    before = [(folder / name).stat().st_mtime_ns for name in files]
    again = quickstart(folder, SHORT, lambda line: None)
    assert [(folder / name).stat().st_mtime_ns for name in files] == before
    assert again.table == result.table


def test_half_done_trainings_are_finished_with_the_same_result(run, tmp_path):
    folder, result, _ = run
    lines = (folder / 'trainings.jsonl').read_text().splitlines()
    (folder / 'trainings.jsonl').write_text('\n'.join(lines[:3]) + '\n' + lines[3][:10])
    assert quickstart(folder, SHORT, lambda line: None).accuracies == result.accuracies


def test_the_seed_is_that_of_the_supernet_too(monkeypatch, tmp_path):
    began = []

    def search(space, folder, options):
        began.append(torch.cat([parameter.detach().flatten() for parameter in space.full_model.parameters()]))
        raise KeyboardInterrupt

    monkeypatch.setattr('nni_cafenet.cli.quickstart._search', search)
    for seed in (0, 0, 1):
        torch.randn(3)  # whatever was drawn before
        with pytest.raises(KeyboardInterrupt):
            quickstart(tmp_path, QuickstartOptions(seed=seed), lambda line: None)
    assert torch.equal(began[0], began[1])
    assert not torch.equal(began[0], began[2])


def test_other_options_are_refused(run):
    folder, _, _ = run
    with pytest.raises(ResumeError, match='seed: 0 there, 1 now'):
        quickstart(folder, QuickstartOptions(**{**SHORT.__dict__, 'seed': 1}), lambda line: None)
