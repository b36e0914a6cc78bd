"""A run with every ingredient of a recipe, killed in each training and started again, ends with the same network."""

from __future__ import annotations

import pytest
import torch
from helpers.crashes import Crash, crash_at
from helpers.models import two_convolutions
from torch.utils.data import DataLoader, Subset

from nni_cafenet import EqualBins, RandomSearch, TrainingRecipe, prune
from nni_cafenet.errors import ResumeError
from nni_cafenet.supernet.checkpoint import SaveEveryEpoch
from nni_cafenet.testing import digits

RECIPE = TrainingRecipe(
    optimizer='rmsprop',
    lr=0.002,
    weight_decay=0.01,
    label_smoothing=0.1,
    warmup_epochs=0.5,
    schedule='step',
    step_epochs=1.5,
    step_factor=0.9,
    clip=1.0,
    accumulate=2,
    ema=0.9,
    mixup=0.2,
    cutmix=1.0,
    channels_last=True,
)


def run(directory, **options):
    return prune(
        two_convolutions(),
        '50%',
        example_input=(1, 1, 8, 8),
        train=DataLoader(Subset(digits('train'), range(160)), 20, shuffle=True),
        validate=DataLoader(Subset(digits('test'), range(60)), 60),
        search=RandomSearch(4),
        bins=EqualBins(4),
        statistics_batches=2,
        finalists=1,
        baseline=False,
        device='cpu',
        directory=directory,
        **{'recipe': RECIPE, 'epochs': 3, 'finetune_epochs': 3, **options},
    )


@pytest.fixture(scope='module')
def wanted(tmp_path_factory):
    return run(tmp_path_factory.mktemp('whole') / 'out')


@pytest.mark.parametrize('saves', [2, 5], ids=['supernet', 'fine-tuning'])
def test_the_same_to_the_bit(wanted, tmp_path, monkeypatch, saves):
    """Checkpoints: two after epochs of the supernet and one at its end, then two of the finalist."""
    with monkeypatch.context() as patch:
        patch.setattr(SaveEveryEpoch, '_save', crash_at(saves, SaveEveryEpoch._save))
        with pytest.raises(Crash):
            run(tmp_path / 'killed')
    result = run(tmp_path / 'killed')
    assert result.widths == wanted.widths
    there, now = wanted.model.state_dict(), result.model.state_dict()
    assert list(there) == list(now)
    assert all(torch.equal(there[name], now[name]) for name in there)
    values = [each.report.networks[-1].finetuned for each in (wanted, result)]
    assert values[0] == values[1]


def test_another_recipe_is_another_run(tmp_path):
    run(tmp_path / 'out', recipe=TrainingRecipe(), epochs=1, finetune_epochs=1)
    with pytest.raises(ResumeError, match='label_smoothing'):
        run(tmp_path / 'out', recipe=TrainingRecipe(label_smoothing=0.1), epochs=1, finetune_epochs=1)
