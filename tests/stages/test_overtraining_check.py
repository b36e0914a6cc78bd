from __future__ import annotations

import math
import re
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
from torch import nn

from nni_cafenet import WidthMutator
from nni_cafenet.stages.overtraining_check import WatchUniform, evaluating, overtraining
from nni_cafenet.stages.training_curves import read_curves


def looked(path, losses, epochs):
    """Train, as Lightning tells callbacks, with these held-out losses by epoch."""
    trainer = SimpleNamespace(
        max_epochs=epochs, current_epoch=0, is_global_zero=True, fit_loop=SimpleNamespace(restarting=False)
    )
    space = SimpleNamespace(uniform_widths=lambda ratio: {'a': 8 * ratio})

    def score(widths):
        assert widths == {'a': 4}
        return SimpleNamespace(score=losses(trainer.current_epoch + 1))

    watch = WatchUniform(path, lambda: SimpleNamespace(space=space, score=score))
    for epoch in range(epochs):
        trainer.current_epoch = epoch
        watch.on_train_epoch_end(trainer, pl.LightningModule())
    return [point for points in read_curves(path).values() for point in points]


@pytest.mark.parametrize(
    ('losses', 'says'),
    [
        (lambda epoch: 1 / epoch, None),
        (lambda epoch: 1 + 0.1 * max(0, epoch - 16), r'lowest \(1\) after epoch \d+ of 24 and ended at 1.8'),
        (lambda epoch: 1 + 0.1 * max(0, epoch - 20), None),  # too short a rise
        (lambda epoch: 1 + 0.0005 * epoch, None),  # too small a rise
    ],
)
def test_a_rise_for_a_third_of_the_epochs_is_told(tmp_path, losses, says):
    points = looked(tmp_path / 'loss.jsonl', losses, 24)
    assert [epoch for epoch, _ in points] == list(range(2, 25, 2))  # a dozen looks
    found = overtraining(tmp_path / 'loss.jsonl')
    if says is None:
        assert found is None
    else:
        assert re.search(says, found)


def test_short_trainings_and_losses_that_are_no_numbers(tmp_path):
    assert looked(tmp_path / 'short.jsonl', float, 5) == []
    assert overtraining(tmp_path / 'short.jsonl') is None
    assert looked(tmp_path / 'nan.jsonl', lambda epoch: math.nan, 8) == []
    assert [epoch for epoch, _ in looked(tmp_path / 'odd.jsonl', float, 13)] == [2, 4, 6, 8, 10, 12, 13]


def test_the_model_inside_a_space_gets_its_mode_back():
    module = pl.LightningModule()
    module.model = WidthMutator().mutate(
        nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), example_input=(1, 4)
    )
    module.train()
    module.model.full_model[0].eval()
    with evaluating(module):
        assert not module.model.full_model.training
    assert module.model.full_model.training
    assert [each.training for each in module.model.full_model] == [False, True, True]
