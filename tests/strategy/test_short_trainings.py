from __future__ import annotations

import copy
import dataclasses
import logging
import math

import pytest
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader, Lightning, LightningModule, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.experiment import NasExperiment
from nni.nas.space import RawFormatModelSpace
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset, TensorDataset

from nni_cafenet import CafeNet, EqualBins, Halving, RandomSearch, ShortTrainings, WidthMutator
from nni_cafenet.errors import TrainingDivergedError
from nni_cafenet.search.budget import Budget
from nni_cafenet.search.history import History, Scored
from nni_cafenet.search.uniform import uniform_within
from nni_cafenet.testing import digits

IMAGES, LABELS = digits('train').tensors
DATA = TensorDataset(IMAGES[:120], LABELS[:120])
QUIET = dict.fromkeys(('logger', 'enable_checkpointing', 'enable_progress_bar', 'enable_model_summary'), False)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.dropout, self.fc = nn.Conv2d(8, 12, 3, stride=2), nn.Dropout(0.2), nn.Linear(12, 10)

    def forward(self, x):
        return self.fc(self.dropout(self.conv2(self.bn1(self.conv1(x)).relu()).relu().mean((2, 3))))


class Untouchable(Dataset):
    """Validation data that must not be read."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        raise AssertionError('validation data was read')


class Crash(BaseException):
    pass


class User(LightningModule):
    """Draws random numbers, has a schedule, and may crash."""

    left = math.inf
    scale = 1.0

    def training_step(self, batch, batch_idx):
        User.left -= 1
        if User.left < 0:
            raise Crash
        x, y = batch
        self.log('train_loss', loss := cross_entropy(self.model(x + 0.1 * torch.randn_like(x)), y))
        return loss * self.scale

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log('val_acc', (self.model(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)
        steps = int(self.trainer.estimated_stepping_batches)
        return [optimizer], [
            {'scheduler': torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, steps), 'interval': 'step'}
        ]


class Data(pl.LightningDataModule):
    """Doubles every batch on its way to the device, so that it is seen whether its hooks are called."""

    def train_dataloader(self):
        return DataLoader(DATA, batch_size=32, shuffle=True)

    def val_dataloader(self):
        return DataLoader(Untouchable(), batch_size=5)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch[0] * 2, batch[1]


@pytest.fixture(scope='module')
def template():
    torch.manual_seed(0)
    return WidthMutator(bins=EqualBins(4), verify=False).mutate(Net, example_input=(2, 1, 8, 8))


@pytest.fixture
def evaluator(tmp_path):
    def make(user=User, data=None, validation=None, **options):
        trainer = {'max_epochs': 50, 'accelerator': 'cpu', 'default_root_dir': str(tmp_path), **QUIET, **options}
        validation = Untouchable() if validation is None else validation
        loaders = {'train_dataloaders': DataLoader(DATA, batch_size=32, shuffle=True)} if data is None else {}
        if data is None:
            loaders['val_dataloaders'] = DataLoader(validation, batch_size=40)
        return Lightning(user(), Trainer(**trainer), datamodule=data, **loaders)

    return make


@pytest.fixture
def run(template, evaluator):
    """``run(strategy, evaluator)``: run a strategy as NNI's sequential engine does."""

    def run(strategy, given=None, seed=0):
        torch.manual_seed(seed)
        strategy.initialize(
            RawFormatModelSpace(copy.deepcopy(template), given or evaluator()), SequentialExecutionEngine()
        )
        strategy.run()
        return strategy

    return run


def small(**options):
    return ShortTrainings(**{'budget': '50%', 'n': 5, 'epochs': (1, 2), 'holdout': 0.25, **options})


def outcome(strategy):
    """All that a run has found, to the bit."""
    slim = next(strategy.list_models()).executable_model()
    return (
        [record.to_json() for record in strategy.history],
        [each.report() | each.metrics for each in strategy.trained],
        {name: tensor.clone() for name, tensor in slim.state_dict().items()},
    )


def assert_same(a, b):
    assert a[:2] == b[:2]
    assert all(torch.equal(a[2][name], b[2][name]) for name in a[2])


def test_end_to_end(run, template, tmp_path):
    strategy = run(small(directory=tmp_path / 'run'))
    budget = Budget.parse('50%', template)
    history = list(strategy.history)
    assert strategy.finished
    assert len(history) == 5
    assert sorted(record.epochs for record in history) == [1, 1, 2, 2, 2]  # 5, then half of them rounded up
    assert uniform_within(budget) in [record.widths for record in history]
    for record in history:
        assert record.macs == template.macs(record.widths) <= budget.limits['macs']
        assert record.params == template.params(record.widths)
        assert math.isfinite(record.score)
    ranked = sorted(history, key=lambda record: (-record.epochs, record.score))
    assert [model.sample for model in strategy.list_models(limit=None)] == [record.widths for record in ranked]
    assert [model.metric for model in strategy.list_models(limit=2)] == [record.score for record in ranked[:2]]
    assert strategy.best_within(budget) == ranked[:1]
    # those that were left out after the first epoch are those with the higher losses
    first = {each.finalist.name: each.metric for each in strategy.short_trainings if each.finalist.epochs == 1}
    second = {each.finalist.name for each in strategy.short_trainings if each.finalist.epochs == 2}
    assert second == set(sorted(first, key=first.get)[:3])
    assert 'uniform (baseline)' in strategy.report()
    uniform_wins = ranked[0].widths == uniform_within(budget)
    assert ('Uniform kept: no candidate is better' in strategy.report()) == uniform_wins
    rows = (tmp_path / 'run' / 'history.csv').read_text().splitlines()
    assert rows[0].startswith('score,temperature,epochs,macs,params,')
    assert len(rows) == 6


def test_the_score_is_the_loss_of_the_slim_model_on_the_held_out_data(run, evaluator):
    class Plain(User):
        def training_step(self, batch, batch_idx):
            return cross_entropy(self.model(batch[0]), batch[1])

    strategy = run(small(), evaluator(Plain))
    (model,) = strategy.list_models()
    slim = model.executable_model().eval()
    heldout = list(strategy._context.supernet.data.heldout)
    assert sum(len(y) for _, y in heldout) == 30
    with torch.no_grad():
        loss = sum(float(cross_entropy(slim(x), y)) * len(y) for x, y in heldout) / 30
    assert model.metric == pytest.approx(loss, rel=1e-5)
    record = strategy.history.best(1)[0]
    assert all(torch.equal(a, b) for a, b in zip(strategy.slim(record).parameters(), slim.parameters()))


def test_as_an_experiment_of_nni(template, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    logging.getLogger('nni').setLevel(logging.ERROR)
    torch.manual_seed(0)
    loader = DataLoader(DATA, batch_size=40, shuffle=True)
    evaluator = Classification(
        num_classes=10, train_dataloaders=loader, val_dataloaders=DataLoader(Untouchable(), batch_size=4), max_epochs=9,
        accelerator='cpu', export_onnx=False, default_root_dir=str(tmp_path), **QUIET,
    )  # fmt: skip
    strategy = ShortTrainings('50%', n=3, epochs=(1,), score='val_acc')
    experiment = NasExperiment(copy.deepcopy(template), evaluator, strategy)
    experiment.config.experiment_working_directory = str(tmp_path / 'nni')
    experiment.run()
    experiment.stop()
    best = max(record.score for record in strategy.history)
    assert 0 <= best <= 1
    assert experiment.export_top_models(formatter='dict')[0] == strategy.history.best(1)[0].widths
    (slim,) = experiment.export_top_models(formatter='instance')
    assert type(slim) is Net


def test_data_modules_keep_their_hooks(run, evaluator):
    strategy = run(small(n=2, epochs=1), evaluator(data=Data()))
    (slim,) = (model.executable_model().eval() for model in strategy.list_models())
    assert len(strategy.history) == 2
    heldout = list(strategy._context.supernet.data.heldout)
    assert sum(len(y) for _, y in heldout) == 30


def test_the_recipe_follows_the_epochs_of_the_rung(run, evaluator):
    seen = []

    class Watched(User):
        def on_train_end(self):
            seen.append(
                (self.trainer.max_epochs, self.trainer.current_epoch, int(self.trainer.estimated_stepping_batches))
            )

    given = evaluator(Watched, max_steps=1, min_epochs=20, check_val_every_n_epoch=7, limit_val_batches=1)
    strategy = run(small(n=2, epochs=(1, 3), score='val_acc'), given)
    first_look, *rungs = seen  # one batch, with the recipe of the whole training
    assert first_look[0] == 50
    # 90 images in batches of 32: 3 steps an epoch
    assert [epochs for epochs, *_ in rungs] == [1, 1, 3]
    assert [steps for *_, steps in rungs] == [3, 3, 9]
    assert all(0 <= record.score <= 1 for record in strategy.history)


def test_finalists_are_trained_in_full_beside_the_baseline(run, evaluator, tmp_path):
    strategy = small(finalists=1, metric='val_acc', directory=tmp_path / 'run')
    run(strategy, evaluator(validation=TensorDataset(IMAGES[200:240], LABELS[200:240]), max_epochs=2))
    names = [each.finalist.name for each in strategy.trained]
    assert names[-1] == 'uniform'
    assert {each.finalist.epochs for each in strategy.trained} == {None}
    best = strategy.history.best(1)[0]
    assert strategy.trained[0].finalist.scored == best
    assert (tmp_path / 'run' / 'finalists' / names[0] / 'slim.pt').exists()
    assert 'val_acc' in strategy.report()
    (model,) = strategy.list_models()
    assert model.metric == max(each.metric for each in strategy.trained)


@pytest.mark.parametrize('data', [False, True], ids=['loaders', 'data module'])
def test_killed_at_any_step_and_resumed_it_ends_the_same(run, evaluator, tmp_path, monkeypatch, data):
    def go(directory, left):
        monkeypatch.setattr(User, 'left', left)
        given = evaluator(data=Data()) if data else evaluator()
        return run(small(n=3, epochs=(1, 3), directory=tmp_path / directory), given, seed=left if left < 99 else 0)

    whole = outcome(go('whole', 10**6))
    # 3 trainings of 3 steps, then 2 of 9; each is followed by the steps of its held-out loss, one
    for left in (2, 19) if data else (0, 4, 15, 22):
        with pytest.raises(Crash):
            go(f'killed {left}', left)
        assert_same(outcome(go(f'killed {left}', 10**6)), whole)


def test_a_record_that_was_lost_after_its_training_is_written_again(run, tmp_path):
    directory = tmp_path / 'run'
    whole = outcome(run(small(directory=directory)))
    lines = (directory / 'history.jsonl').read_text().splitlines(keepends=True)
    (directory / 'history.jsonl').write_text(''.join(lines[:2]))
    assert_same(outcome(run(small(directory=directory))), whole)
    assert (directory / 'history.jsonl').read_text() == ''.join(lines)


def test_another_question_uses_the_trainings_that_are_there(run, tmp_path, caplog):
    directory = tmp_path / 'run'
    run(small(n=2, epochs=1, directory=directory))
    for epochs in (1, 2):
        caplog.clear()
        whole = outcome(run(small(n=3, epochs=epochs, directory=tmp_path / f'whole {epochs}')))
        again = run(small(n=3, epochs=epochs, directory=directory))
        assert 'continues with changed options' in caplog.text
        assert {record.epochs for record in again.history} == {epochs}
        found = outcome(again)
        assert all(torch.equal(found[2][name], whole[2][name]) for name in whole[2])
    assert len((directory / 'history.jsonl').read_text().splitlines()) == 3


def test_several_budgets(run, template):
    strategy = run(small(budget=['60%', '30%'], n=2, epochs=1))
    assert strategy.budget_names == ['60%', '30%']
    assert len(strategy.history) == 4
    assert [each.finalist.name for each in strategy.short_trainings] == ['1@60%', 'uniform@60%', '1@30%', 'uniform@30%']
    for budget in strategy.budgets:
        assert strategy.best_within(budget)


def test_a_run_in_which_all_diverge_says_so(run, evaluator):
    class Diverges(User):
        scale = math.nan

    with pytest.raises(TrainingDivergedError, match='No short training has a heldout_loss that is a number'):
        run(small(n=2), evaluator(Diverges))


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'n': 1}, 'n=1 must be a whole number, 2 or more'),
        ({'n': 2.5}, 'n=2.5'),
        ({'epochs': (4, 2)}, 'epochs='),
        ({'keep': 1}, 'keep=1'),
        ({'floor': 2}, 'floor=2'),
        ({'holdout': 0}, 'holdout=0'),
        ({'finalists': 4}, 'finalists=4: the last rung has 3 networks'),
        ({'finalists': -1}, 'finalists=-1'),
        ({'seed': -1}, 'seed=-1'),
    ],
)
def test_options_that_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        small(**options)


# --- the supernet proposes, short trainings choose --------------------------------------------------


def hybrid(**options):
    search = RandomSearch(8)
    return CafeNet(
        **{'budget': '50%', 'search': search, 'holdout': 0.25, 'finalists': 4, 'finalist_halving': (1, 2), **options}
    )


def test_short_trainings_choose_among_what_the_supernet_proposes(run, evaluator, tmp_path, monkeypatch):
    validation = TensorDataset(IMAGES[200:240], LABELS[200:240])

    def go(directory, left=10**6):
        monkeypatch.setattr(User, 'left', left)
        strategy = hybrid(directory=tmp_path / directory, metric='val_acc', statistics_batches=1)
        return run(strategy, evaluator(validation=validation, max_epochs=2))

    strategy = go('run')
    assert len(strategy.history) == 8
    proposed = strategy.best_within(strategy.budgets[0], 4)
    rungs = {
        epochs: {each.finalist.name: each for each in strategy.short_trainings if each.finalist.epochs == epochs}
        for epochs in (1, 2)
    }
    assert list(rungs[1]) == ['1', '2', '3', '4']
    assert [each.finalist.scored.widths for each in rungs[1].values()] == [each.widths for each in proposed]
    assert set(rungs[2]) == set(sorted(rungs[1], key=lambda name: rungs[1][name].metric)[:2])
    winner = min(rungs[2], key=lambda name: rungs[2][name].metric)
    assert [each.finalist.name for each in strategy.trained] == [winner, 'uniform']
    assert all('heldout_loss' in each.metrics for each in strategy.short_trainings)

    steps = 10**6 - User.left
    for left in (steps - 30, steps - 10):
        with pytest.raises(Crash):
            go(f'killed {left}', left)
        assert_same(outcome(go(f'killed {left}')), outcome(strategy))


def test_options_of_the_hybrid():
    assert hybrid().finalist_options.halving == Halving((1, 2))
    assert hybrid(finalist_halving=Halving((3,), 0.25)).finalist_options.trainings == 4 + 1 + 1
    with pytest.raises(ValueError, match='finalists=1 leaves nothing to choose'):
        hybrid(finalists=1)
    with pytest.raises(ValueError, match='finalist_halving: epochs='):
        hybrid(finalist_halving=(2, 1))


def test_histories_of_both_kinds_are_read(tmp_path):
    history = History(tmp_path / 'history.jsonl', higher_is_better=False)
    plain = Scored({'a': 1}, 1, 1, 0.5, {})
    long = Scored.from_json({**plain.to_json(), 'epochs': 4, 'widths': {'a': 2}})
    short = dataclasses.replace(plain, epochs=2, score=0.1)
    history.add(short)
    history.add(long)
    assert [each.epochs for each in History(history.path, higher_is_better=False).best()] == [4, 2]
    assert 'epochs' not in Scored.from_json(plain.to_json()).to_json()
