from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from helpers.random_pictures import read_random_pictures

import temperature
from proof import task as proof_task
from proof.networks import Staged


@pytest.fixture
def study(tmp_path, monkeypatch, capsys):
    """``study()``: the page of a tiny study of noise."""
    tiny = temperature.Study(Staged(((4, 4), (6, 6))), 0.5, 6, 3, ((2, 0), (3, 64)))
    monkeypatch.setattr(temperature, 'STUDIES', {'tiny': tiny})
    monkeypatch.setattr(temperature, 'STATISTICS_BATCHES', 1)
    monkeypatch.setattr(proof_task, 'read_fashion_mnist', read_random_pictures)
    make = temperature.Task
    monkeypatch.setattr(temperature, 'Task', lambda *given, **named: make(*given, **named, train=128, heldout=64))
    monkeypatch.setattr(temperature, 'unused_pictures', lambda task: proof_task.unused_pictures(task, 100))
    words = '--study tiny --widths 4 --training-seeds 1 --supernet-seeds 1 --data none --output'.split()
    monkeypatch.setattr(sys, 'argv', ['temperature.py', *words, str(tmp_path / 'out')])

    def study():
        temperature.main()
        return capsys.readouterr().out

    return study


def test_a_tiny_study_that_continues(study, tmp_path, monkeypatch):
    page = study()
    assert page == (tmp_path / 'out' / 'temperature.md').read_text()
    assert page.count('| fitted ') == 2
    assert 'Supernets of 3 steps on 64 pictures:' in page
    monkeypatch.setattr(temperature, 'outputs_of', None)
    monkeypatch.setattr(temperature, 'train_from_scratch', None)
    assert study() == page


def test_pictures_of_the_truth_are_used_for_nothing_else(monkeypatch):
    monkeypatch.setattr(proof_task, 'read_fashion_mnist', read_random_pictures)
    task = proof_task.Task('t', Staged(((4,),)), 0.5, 'none', size=6, train=128, heldout=64)
    unused, _ = proof_task.unused_pictures(task, 100)
    pictures = task.pictures()
    assert len(unused) == 100
    for part in (pictures.train, pictures.heldout, pictures.test):
        assert not (unused[:, None] == part[0][None]).flatten(2).all(2).any()


def test_the_scale_of_a_width_changes_its_score_at_a_temperature_alone():
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (300,), generator=rng)
    outputs = torch.randn(5, 2, 300, 4, generator=rng)
    outputs[:, :, range(300), labels] += torch.arange(5)[:, None, None] / 3
    accuracy = np.arange(5.0)
    scaled = outputs * torch.tensor([3, 0.3, 1, 2, 0.5])[:, None, None, None]
    found = [temperature.measures(each, labels, accuracy, -accuracy) for each in (outputs, scaled)]
    for score in ('standardized', 'fitted', '1.5 x fitted', '2 x fitted', 'accuracy'):
        assert found[0][score][:2] == found[1][score][:2] == (pytest.approx(1), 0), score
    assert found[1]['T=3'][0] < 1
