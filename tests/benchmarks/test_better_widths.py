from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest

import better_widths
from proof import arms, case
from proof import task as proof_task
from proof.figures import ceiling, interval, tau

TINY = (
    '--network 6-6,4-4 --ratio 0.5 --size 6 --steps 4 --widths 20 --supernet-seeds 2 --training-seeds 1 --ranked 4'
).split()


def read_random_pictures(folder, part):
    """Return what `read_fashion_mnist` does, of noise."""
    count = {'train': 400, 'test': 100}[part]
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, 28, 28), np.uint8), rng.integers(0, 10, count)


def test_a_tiny_proof_that_continues(tmp_path, monkeypatch, capsys):
    folder = tmp_path / 'proof'
    monkeypatch.setattr(proof_task, 'read_fashion_mnist', read_random_pictures)
    monkeypatch.setattr(case, 'count_for', lambda task, seconds, rungs: 4)
    make = better_widths.make_task
    monkeypatch.setattr(better_widths, 'make_task', lambda *given: _small(make(*given)))
    given = ['--data', 'none', '--output', str(folder), *TINY]
    words = ['better_widths.py', '--case', 'front-heavy', 'ranking', *given]
    monkeypatch.setattr(sys, 'argv', words)
    better_widths.main()
    table = capsys.readouterr().out
    for row in ('uniform', 'supernet search', 'supernet search, ranked at T=3', 'random', 'short trainings'):
        assert f'| {row} ' in table
    for row in ('Fixed(), T=1', 'Bilateral(), 2 channel sets, T=3', 'a perfect score, estimated'):
        assert f'| {row} ' in table
    results = json.loads((folder / 'front-heavy' / 'results.json').read_text())
    assert len(results['supernet search']['difference']) == 2
    assert max(results['supernet search']['macs']) <= results['uniform']['macs'][0]
    monkeypatch.setattr(arms, 'train_from_scratch', None)
    monkeypatch.setattr(arms, 'NasExperiment', None)
    better_widths.main()  # nothing is left to do
    assert capsys.readouterr().out == table


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
