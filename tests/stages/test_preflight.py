"""What fails in the first batch fails before training, and the look leaves no trace."""

from __future__ import annotations

import random

import nni.nas.strategy
import numpy as np
import pytest
import torch
from nni.nas.evaluator.pytorch import Lightning, LightningModule, Trainer
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from nni_cafenet.errors import FirstBatchError
from nni_cafenet.options import FinalistOptions
from nni_cafenet.space.width_space import WidthSpace
from nni_cafenet.stages.context import StageContext
from nni_cafenet.stages.options import RunOptions
from nni_cafenet.stages.preflight import check_before_training
from nni_cafenet.utils.rng import random_state

X, Y = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 4


def loader(x=X, y=Y, **options):
    return DataLoader(TensorDataset(x, y), **{'batch_size': 8, 'shuffle': True, **options})


class Step(LightningModule):
    def training_step(self, batch, batch_idx):
        x, y = batch
        return cross_entropy(self.model(x), y)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log('val_loss', self.training_step(batch, batch_idx))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class AtEpochEnd(Step):
    """Logs in every other way."""

    def __init__(self):
        super().__init__()
        self.accuracy = MulticlassAccuracy(4)
        self.seen = []

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        x, y = batch
        self.accuracy.update(self.model(x), y)
        self.seen.append(len(y))
        self.log('val/loss', 1.0, prog_bar=True)

    def on_validation_epoch_end(self):
        self.log('val_count', float(sum(self.seen)))
        self.log('val_acc', self.accuracy)
        self.seen.clear()


class Reporting(Step):
    def validation_step(self, batch, batch_idx):
        pass

    def on_validation_epoch_end(self):
        nni.report_intermediate_result(0.5)

    def on_fit_end(self):
        nni.report_final_result(0.5)


class LogsItself(Step):
    """Needs the logger, the number of steps and the whole number of epochs."""

    def training_step(self, batch, batch_idx):
        self.logger.experiment.add_scalar('x', 1, 0)
        self.log('lr', self.trainer.optimizers[0].param_groups[0]['lr'])
        return super().training_step(batch, batch_idx)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        assert self.trainer.max_epochs == 3
        assert self.trainer.estimated_stepping_batches == 15
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=15)
        return [optimizer], [{'scheduler': schedule, 'interval': 'step'}]


class Broken(Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, index):
        raise OSError('picture 3 is damaged')


class Empty(IterableDataset):
    def __iter__(self):
        return iter(())


QUIET = {
    'enable_checkpointing': False,
    'enable_progress_bar': False,
    'enable_model_summary': False,
    'accelerator': 'cpu',
}


def setup(module=None, train=None, validate=None, *, finalists=1, metric=None, trainer=None, model=None, **options):
    space = WidthSpace(model or nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4)), example_input=(2, 3))
    evaluator = Lightning(
        module or Step(),
        Trainer(**{'max_epochs': 3, 'logger': False, **QUIET, **(trainer or {})}),
        train_dataloaders=loader() if train is None else train,
        val_dataloaders=loader(shuffle=False) if validate is None else validate,
    )
    given = dict.fromkeys(('sharing', 'higher_is_better', 'channel_sets_per_score', 'score_data'))
    given.update(channel_sets_per_step=2, score='loss', holdout=0.2, statistics_batches=2, seed=0)
    chosen = FinalistOptions(number=finalists, weights='fresh', metric=metric, higher_is_better=None)
    return StageContext(space, evaluator, RunOptions.checked(**{**given, **options}), chosen)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('module', 'metric'),
    [
        (Step, 'val_loss'),
        (AtEpochEnd, 'val/loss'),
        (AtEpochEnd, 'val_count'),
        (AtEpochEnd, 'val_acc'),
        (Reporting, None),
    ],
)
def test_names_that_are_logged_are_taken(module, metric):
    asked = setup(module(), metric=metric)
    assert check_before_training(asked).metric == metric


def test_several_validation_loaders_have_names_of_their_own():
    several = [loader(shuffle=False), loader(shuffle=False)]
    check_before_training(setup(validate=several, metric='val_loss/dataloader_idx_1'))
    with pytest.raises(ValueError, match=r"metric='val_loss': .* It logs val_loss/dataloader_idx_0, val_loss/data"):
        check_before_training(setup(validate=several, metric='val_loss'))


@pytest.mark.parametrize('name', ['validation_loss', 'val_los', 'acc'])
def test_a_metric_that_nobody_logs_is_refused(name):
    with pytest.raises(ValueError, match=f"metric='{name}': the evaluator logs no such metric. It logs val_loss"):
        check_before_training(setup(metric=name))
    with pytest.raises(ValueError, match=f"metric='{name}'"):  # also where it is reported at the end alone
        check_before_training(setup(metric=name, finalists=0))
    with pytest.raises(ValueError, match=f"score='{name}': .* logs no such metric. It logs val_loss"):
        check_before_training(setup(score=name))


def test_a_score_is_not_taken_from_the_end_of_an_epoch():
    with pytest.raises(ValueError, match="score='val_count': .* at the end of an epoch.* It logs val/loss"):
        check_before_training(setup(AtEpochEnd(), score='val_count'))


def test_the_nearest_name_stands_first():
    with pytest.raises(ValueError, match='It logs val_acc, val/loss, val_count|It logs val_acc, val_count, val/loss'):
        check_before_training(setup(AtEpochEnd(), metric='val_accuracy'))


def test_a_loss_that_ranks_because_nothing_was_said_is_better_when_lower():
    chosen = check_before_training(setup())
    assert (chosen.metric, chosen.higher_is_better) == ('val_loss', False)


def test_callbacks_may_log_the_metric():
    import pytorch_lightning as pl

    class Logs(pl.Callback):
        def on_validation_epoch_end(self, trainer, pl_module):
            pl_module.log('of_callback', 1.0)

    check_before_training(setup(metric='of_callback', trainer={'callbacks': [Logs()]}))


def test_the_recipe_is_that_of_the_whole_training():
    assert check_before_training(setup(LogsItself(), finalists=0, holdout=0.1, trainer={'logger': True})).number == 0


# --- what fails in the first batch -----------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        ({'train': loader(y=Y + 7)}, 'first training batch fails .IndexError: Target'),
        ({'validate': loader(y=Y + 7)}, 'first validation batch fails .IndexError: Target'),
        ({'score_data': loader(y=Y + 7)}, 'first validation batch fails .IndexError: Target'),
        ({'train': DataLoader(Broken(), batch_size=4)}, 'OSError: picture 3 is damaged'),
        ({'train': DataLoader(Empty(), batch_size=4), 'score_data': loader()}, 'train_dataloaders .* yields no batch'),
        ({'validate': DataLoader(Empty(), batch_size=4)}, 'val_dataloaders .* yields no batch'),
        ({'validate': loader(X[:0], Y[:0], shuffle=False)}, 'val_dataloaders .* yields no batch'),
        ({'score_data': loader(X[:0], Y[:0], shuffle=False)}, 'score_data yields no batch'),
        ({'score_data': []}, 'score_data yields no batch'),
        ({'score_data': DataLoader(X, batch_size=8)}, 'ValueError: too many values'),
        (
            {'train': loader(X[:21], Y[:21], batch_size=4, shuffle=False), 'score_data': loader(), 'model': 'norm'},
            'last training batch has one sample and fails',
        ),
    ],
)
def test_what_fails_in_the_first_batch_is_told_before(options, says):
    if options.get('model') == 'norm':
        options = {**options, 'model': nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))}
    with pytest.raises(FirstBatchError, match=says):
        check_before_training(setup(**options))


# --- no trace ---------------------------------------------------------------------------------------


class Counted(TensorDataset):
    """A data set with random numbers of its own."""

    def __init__(self):
        super().__init__(X, Y)
        self.rng, self.python = np.random.default_rng(3), random.Random(3)

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + float(self.rng.random()) + self.python.random(), y


def test_the_look_leaves_no_trace():
    data, own = Counted(), torch.Generator().manual_seed(5)
    train = DataLoader(data, batch_size=8, shuffle=True, generator=own)
    asked = setup(
        AtEpochEnd(),
        train,
        metric='val_acc',
        model=nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 4)),
    )
    module, trainer = asked.evaluator.module, asked.evaluator.trainer
    weights = {name: (value, value.clone()) for name, value in asked.space.state_dict(keep_vars=True).items()}
    modes = [each.training for each in asked.space.modules()]
    states = random_state(), own.get_state(), data.rng.bit_generator.state, data.python.getstate()
    check_before_training(asked)
    assert str(states) == str((random_state(), own.get_state(), data.rng.bit_generator.state, data.python.getstate()))
    assert torch.equal(states[0]['torch'], random_state()['torch'])
    after = asked.space.state_dict(keep_vars=True)
    assert all(after[name] is value and torch.equal(value, before) for name, (value, before) in weights.items())
    assert [each.training for each in asked.space.modules()] == modes
    assert (trainer.global_step, trainer.current_epoch, dict(trainer.callback_metrics)) == (0, 0, {})
    assert (module.seen, module.accuracy._update_count, module._trainer) == ([], 0, None)
    assert asked.space.active is None
    assert all(parameter.grad is None for parameter in asked.space.parameters())


def test_workers_that_would_persist_end():
    train = loader(num_workers=1, persistent_workers=True)
    check_before_training(setup(train=train))
    assert train._iterator is None


def test_workers_that_read_before_start_anew():
    train = loader(num_workers=1, persistent_workers=True)
    next(iter(train))
    check_before_training(setup(train=train))
    assert len(list(train)) == len(train)  # Lightning has ended those from before
