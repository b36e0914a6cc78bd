"""An interrupted run raises, says how to continue, and does."""

from __future__ import annotations

import os
import signal
import warnings

import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from nni.nas.experiment import NasExperiment
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from nni_cafenet import CafeNet, RandomSearch, WidthMutator
from nni_cafenet.errors import RunInterrupted

DATA = TensorDataset(torch.randn(60, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1] * 30))


class User(LightningModule):
    stage, number, folder = None, None, None

    def training_step(self, batch, batch_idx):
        if not User.folder.exists():
            self.maybe('look')
        elif not self.training:
            self.maybe('search')
        else:
            self.maybe('finalist' if 'Sequential' in type(self.model).__name__ else 'supernet')
        return cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log('val_loss', cross_entropy(self.model(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def maybe(self, stage):
        if stage == User.stage:
            User.stage = None
            os.kill(os.getpid(), User.number)


def run(root):
    loader = DataLoader(DATA, batch_size=20)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        trainer = Trainer(
            max_epochs=1, accelerator='cpu', logger=False, enable_checkpointing=False, enable_progress_bar=False
        )
        evaluator = Lightning(User(), trainer, train_dataloaders=loader, val_dataloaders=loader)
    torch.manual_seed(0)
    space = WidthMutator(verify=False).mutate(
        nn.Sequential, nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2), example_input=(2, 3)
    )
    strategy = CafeNet('60%', search=RandomSearch(3), finalists=1, directory=root / 'run')
    experiment = NasExperiment(space, evaluator, strategy)
    experiment.config.experiment_working_directory = str(root / 'nni')
    try:
        experiment.run()
    finally:
        experiment.stop()
    return strategy


@pytest.fixture(autouse=True)
def default_interrupt():
    """Ctrl-C raises, in a test run that was started in the background too, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('stage', ['look', 'supernet', 'search', 'finalist'])
def test_it_says_so_once_and_continues(tmp_path, monkeypatch, caplog, stage, number):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setattr(User, 'stage', stage)
    monkeypatch.setattr(User, 'number', number)
    monkeypatch.setattr(User, 'folder', tmp_path / 'run')
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(RunInterrupted) as error:
        run(tmp_path)
    said = f"To continue, run again with directory='{tmp_path / 'run'}'."
    if stage == 'look':
        said = 'The run has not begun. Start it again.'
    assert str(error.value).endswith(said)
    assert str(error.value).startswith('Interrupted.' if number == signal.SIGINT else 'Terminated (SIGTERM).')
    assert said not in caplog.text
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert run(tmp_path).finished
