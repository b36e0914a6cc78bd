from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from nni_cafenet.stages.training_curves import KeepCurves, read_curves


@pytest.fixture
def end_epoch(tmp_path):
    """End an epoch, counted from 0, of a training that has logged some metrics."""
    callback = KeepCurves(tmp_path / 'curves.jsonl')

    def end(epoch, first=True, restarting=False, **metrics):
        logged = {name: torch.tensor(value) for name, value in metrics.items()}
        loop = SimpleNamespace(restarting=restarting)
        trainer = SimpleNamespace(current_epoch=epoch, callback_metrics=logged, is_global_zero=first, fit_loop=loop)
        callback.on_train_epoch_end(trainer, None)

    return end


def test_curves_are_read_as_they_were_logged(tmp_path, end_epoch):
    end_epoch(0, loss=2.0)
    end_epoch(1, loss=1.0, acc=0.5)
    assert read_curves(tmp_path / 'curves.jsonl') == {'loss': [(1, 2.0), (2, 1.0)], 'acc': [(2, 0.5)]}


def test_an_epoch_that_is_trained_again_counts_once(tmp_path, end_epoch):
    for epoch, loss in ((0, 2.0), (1, 1.5), (1, 1.0)):
        end_epoch(epoch, loss=loss)
    assert read_curves(tmp_path / 'curves.jsonl') == {'loss': [(1, 2.0), (2, 1.0)]}


def test_the_rest_of_an_epoch_that_had_ended_counts_for_nothing(tmp_path, end_epoch):
    end_epoch(0, loss=2.0, acc=0.5)
    end_epoch(0, restarting=True)
    assert read_curves(tmp_path / 'curves.jsonl') == {'loss': [(1, 2.0)], 'acc': [(1, 0.5)]}


def test_what_is_not_finite_is_left_out(tmp_path, end_epoch):
    end_epoch(0, loss=float('nan'), acc=0.5)
    (line,) = (tmp_path / 'curves.jsonl').read_text().splitlines()
    assert {**json.loads(line), 'checksum': None} == {'epoch': 1, 'metrics': {'acc': 0.5}, 'checksum': None}


def test_only_the_first_process_writes(tmp_path, end_epoch):
    end_epoch(0, first=False, loss=1.0)
    assert read_curves(tmp_path / 'curves.jsonl') == {}


def test_a_line_that_was_cut_when_the_process_was_killed(tmp_path, end_epoch):
    path = tmp_path / 'curves.jsonl'
    end_epoch(0, loss=2.0)
    with open(path, 'a') as file:
        file.write('{"epoch": 2, "met')
    resumed = KeepCurves(path)
    resumed.on_train_start(SimpleNamespace(is_global_zero=True), None)
    end_epoch(1, loss=1.0)
    assert read_curves(path) == {'loss': [(1, 2.0), (2, 1.0)]}
