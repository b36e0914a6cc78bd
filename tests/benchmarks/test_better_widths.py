from __future__ import annotations

import dataclasses
import functools
import json
import re
import sys

import numpy as np
import pytest
from helpers.random_pictures import read_random_pictures

import better_widths
from proof import arms, budgets, case, networks, peers, task as proof_task
from proof.figures import ceiling, interval, tau
from proof.peer_tools import RE_ESTIMATED
from proof.peers import ONE_SHOT, Peers

TINY = (
    '--network 6-6,4-4 --ratio 0.5 --size 6 --steps 4 --widths 20 --supernet-seeds 2 --training-seeds 1 --ranked 4'
).split()


@pytest.fixture
def prove(tmp_path, monkeypatch, capsys):
    """``prove('peers')``: the table of some cases, of a tiny network and noise."""
    make = better_widths.make_task
    monkeypatch.setattr(proof_task, 'read_fashion_mnist', read_random_pictures)
    monkeypatch.setattr(better_widths, 'make_task', lambda *given: _small(make(*given)))

    def prove(*cases):
        words = ['--data', 'none', '--output', str(tmp_path / 'proof'), *TINY]
        monkeypatch.setattr(sys, 'argv', ['better_widths.py', '--case', *cases, *words])
        better_widths.main()
        return capsys.readouterr().out

    return prove


def test_a_tiny_proof_that_continues(tmp_path, monkeypatch, prove):
    folder = tmp_path / 'proof'
    monkeypatch.setattr(case, 'count_for', lambda task, seconds, rungs: 4)
    table = prove('front-heavy', 'ranking')
    for row in ('uniform', 'supernet search', 'supernet search, ranked at T=3', 'random', 'short trainings'):
        assert f'| {row} ' in table
    for row in ('Fixed(), T fitted', 'Fixed(), T=1', 'Bilateral(), 2 channel sets, T=3', 'a perfect score, estimated'):
        assert f'| {row} ' in table
    results = json.loads((folder / 'front-heavy' / 'results.json').read_text())
    assert len(results['supernet search']['difference']) == 2
    assert max(results['supernet search']['macs']) <= results['uniform']['macs'][0]
    monkeypatch.setattr(arms, 'train_from_scratch', None)
    monkeypatch.setattr(arms, 'NasExperiment', None)
    assert prove('front-heavy', 'ranking') == table  # nothing is left to do


def test_a_tiny_larger_case(tmp_path, monkeypatch, prove):
    monkeypatch.setattr(case, 'count_for', lambda task, seconds, rungs: 3)
    monkeypatch.setattr(networks, 'SETTINGS', ((1, 16, 1, 1), (2, 24, 1, 2)))
    table = prove('mobile')
    assert 'network MobileNetV2 x 0.5 with blocks 1-16-1-1 2-24-1-2' in table
    results = json.loads((tmp_path / 'proof' / 'mobile' / 'results.json').read_text())
    assert {'uniform', 'supernet search', 'random', 'short trainings'} < set(results)
    for name, row in results.items():
        assert max(row['macs']) <= results['uniform']['macs'][0], name


def test_tiny_peers(tmp_path, monkeypatch, prove):
    monkeypatch.setattr(peers, 'is_installed', lambda package: False)
    monkeypatch.setattr(Peers, 'arms', [ONE_SHOT, f'{ONE_SHOT}, {RE_ESTIMATED}'])
    table = prove('peers')
    assert "- not installed: Torch-Pruning, ModelOpt (pip install '.[bench]')" in table
    results = json.loads((tmp_path / 'proof' / 'peers' / 'results.json').read_text())
    assert list(results) == ['uniform', ONE_SHOT, f'{ONE_SHOT}, {RE_ESTIMATED}']
    assert max(results[ONE_SHOT]['macs']) <= results['uniform']['macs'][0]
    assert min(results[ONE_SHOT]['seconds']) > 0
    monkeypatch.setattr(arms, 'NasExperiment', None)
    assert prove('peers') == table


def test_a_peer_that_fails_is_a_row(tmp_path, monkeypatch, prove):
    def fail(*given):
        raise RuntimeError('no such network')

    monkeypatch.setattr(Peers, 'arms', ['Torch-Pruning by magnitude'])
    monkeypatch.setattr(peers, 'torch_pruning', fail)
    row = '| Torch-Pruning by magnitude | failed, seed 0: RuntimeError: no such network |'
    assert row in re.sub(' +', ' ', prove('peers'))
    too_large = {'widths': dict.fromkeys(('stem.0', 'blocks.0.conv1', 'blocks.1.downsample.0', 'blocks.1.conv1'), 4)}
    monkeypatch.setattr(peers, 'torch_pruning', lambda *given: {**too_large, 'seconds': 1.0})
    assert 'of the budget' in prove('peers')


def test_tiny_budgets(tmp_path, monkeypatch, prove):
    monkeypatch.setattr(budgets, 'count_for', lambda task, seconds, rungs, uniform: 3)
    monkeypatch.setattr(budgets, 'RATIOS', (0.75,))
    quick = functools.partial(budgets.LatencyTable.measure, points=2, rounds=1, networks=1, held_out=2)
    monkeypatch.setattr(budgets.LatencyTable, 'measure', quick)
    table = prove('budgets')
    assert re.search(r'\| [\d,]+ us, predicted +\|', table)
    results = json.loads((tmp_path / 'proof' / 'budgets' / 'results.json').read_text())
    assert len(results) == 3
    for row in results.values():
        found = row['accuracy']
        assert row['difference']['supernet search - uniform'] == pytest.approx(
            [a - b for a, b in zip(found['supernet search'], found['uniform'])]
        )
    monkeypatch.setattr(arms, 'NasExperiment', None)
    monkeypatch.setattr(budgets.LatencyTable, 'measure', None)
    assert prove('budgets') == table


def _small(task):
    return dataclasses.replace(task, train=300, heldout=100, supernet_steps=5)


def test_statistics_of_the_tables():
    low, high = interval([1.0, 2.0, 3.0])
    assert low == pytest.approx(2 - 4.303 / np.sqrt(3), abs=1e-3)
    assert high == pytest.approx(2 + 4.303 / np.sqrt(3), abs=1e-3)
    assert tau([1, 2, 3], [3, 2, 1]) == -1
    assert ceiling(1.0) == pytest.approx(1)
    assert ceiling(0.0) == 0
    assert ceiling(0.3) > 0.3
