"""Options of the training of a supernet in whole runs: they resume to the bit, and travel to trials."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from nni_cafenet import Bilateral, CafeNet, EqualBins, NearBudget, RandomSearch, Sandwich, WidthMutator
from nni_cafenet.errors import ResumeError
from nni_cafenet.stages.options import RunOptions
from nni_cafenet.testing import SmallResNet, digits

IMAGES, LABELS = digits('train').tensors
DATA = TensorDataset(IMAGES[:96], LABELS[:96])
QUIET = dict.fromkeys(('logger', 'enable_checkpointing', 'enable_progress_bar', 'enable_model_summary'), False)


class Crash(BaseException):
    pass


class User(LightningModule):
    """Draws random numbers, and may crash in the second epoch, once a checkpoint is there."""

    left = math.inf

    def training_step(self, batch, batch_idx):
        User.left -= self.current_epoch == 1  # a look at the first batches beforehand counts as the first epoch
        if User.left < 0:
            raise Crash
        x, y = batch
        return cross_entropy(self.model(x + 0.1 * torch.randn_like(x)), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05, momentum=0.9)


@pytest.fixture(scope='module')
def template():
    torch.manual_seed(0)
    return WidthMutator(bins=EqualBins(4), verify=False).mutate(SmallResNet, width=4, example_input=(1, 1, 8, 8))


@pytest.fixture
def run(template, tmp_path, monkeypatch):
    def run(name, left=math.inf, seed=0, **options):
        monkeypatch.setattr(User, 'left', left)
        torch.manual_seed(seed)
        trainer = Trainer(max_epochs=2, accelerator='cpu', default_root_dir=str(tmp_path), **QUIET)
        evaluator = Lightning(User(), trainer, train_dataloaders=DataLoader(DATA, batch_size=32, shuffle=True))
        strategy = CafeNet(
            '50%', search=RandomSearch(3), holdout=0.34, statistics_batches=1, directory=tmp_path / name, **options
        )
        strategy.initialize(RawFormatModelSpace(copy.deepcopy(template), evaluator), SequentialExecutionEngine())
        strategy.run()
        return [record.to_json() for record in strategy.history], copy.deepcopy(strategy._space.state_dict())

    return run


def same(a, b):
    return a[0] == b[0] and all(torch.equal(a[1][name], b[1][name]) for name in a[1])


LEVERS = [
    {'width_sampling': Sandwich(1), 'distill': 'alpha', 'ema': 0.9, 'sharing': Bilateral()},
    {'width_sampling': NearBudget(per_step=2), 'combine': 'softmin'},
]


@pytest.mark.parametrize('levers', LEVERS, ids=['sandwich, distilled, averaged', 'near the budget, soft minimum'])
def test_killed_and_resumed_they_end_the_same(run, tmp_path, levers):
    whole = run('whole', **levers)
    plain = run('plain')
    assert not same(whole, plain)
    with pytest.raises(Crash):
        run('killed', 3, **levers)
    assert (tmp_path / 'killed' / 'supernet.ckpt').exists()
    assert same(run('killed', seed=5, **levers), whole)


def test_an_average_is_there_after_a_kill_behind_the_last_epoch(run, tmp_path, monkeypatch):
    from nni_cafenet.supernet.weight_average import WeightAverage

    whole = run('whole', ema=0.9)
    with monkeypatch.context() as patch:
        patch.setattr(WeightAverage, 'on_train_end', lambda *args: (_ for _ in ()).throw(Crash))
        with pytest.raises(Crash):
            run('killed', ema=0.9)
    assert (tmp_path / 'killed' / 'supernet.ckpt').exists()
    assert same(run('killed', seed=5, ema=0.9), whole)


def test_another_way_to_train_is_another_run(run):
    run('run')
    for levers in ({'ema': 0.9}, {'combine': 'mean'}, {'width_sampling': Sandwich()}):
        with pytest.raises(ResumeError, match='training'):
            run('run', **levers)


def test_options_travel_to_trials(template):
    import nni

    options = CafeNet('50%', width_sampling=NearBudget(), combine='softmin', ema=0.99).options
    again = nni.load(nni.dump(options))
    assert isinstance(again, RunOptions)
    assert again == options
