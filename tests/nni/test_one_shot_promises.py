"""What NNI's documentation promises of one-shot strategies, asked of NNI's `RandomOneShot` and of `CafeNet` alike."""

from __future__ import annotations

import functools
import logging
import warnings

import nni
import nni.nas.experiment.experiment as nni_experiment
import nni.nas.strategy
import pytest
import pytorch_lightning as pl
import torch
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.evaluator.pytorch import Classification, DataLoader, Regression
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.experiment import NasExperiment
from nni.nas.nn.pytorch import ModelSpace, MutableBatchNorm2d, MutableConv2d, MutableLinear
from nni.nas.profiler.pytorch.flops import FlopsProfiler
from nni.nas.space import RawFormatModelSpace, model_context
from nni.nas.strategy import RandomOneShot
from torch.utils.data import TensorDataset

from nni_cafenet import CafeNet, RandomSearch
from nni_cafenet.testing import digits

IMAGES, LABELS = (tensor[:120] for tensor in digits('train').tensors)
DATA = TensorDataset(IMAGES, LABELS)


class Net(ModelSpace):
    def __init__(self, classes=10):
        super().__init__()
        a, b = nni.choice('a', [8, 12, 16]), nni.choice('b', [8, 16])
        self.conv1, self.norm = MutableConv2d(1, a, 3, padding=1), MutableBatchNorm2d(a)
        self.conv2, self.conv3 = MutableConv2d(a, b, 3), MutableConv2d(b, a, 1)
        self.fc = MutableLinear(a, classes)

    def forward(self, x):
        x = self.norm(self.conv1(x)).relu()
        return self.fc(self.conv3(self.conv2(x).relu()).mean((2, 3)))


class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(DATA, batch_size=40)

    def val_dataloader(self):
        return DataLoader(DATA, batch_size=40)


@pytest.fixture(params=['RandomOneShot', 'CafeNet'])
def strategy(request, tmp_path):
    """``strategy()`` makes the strategy."""
    if request.param == 'RandomOneShot':
        return RandomOneShot
    return functools.partial(CafeNet, '60%', search=RandomSearch(4), holdout=0.2, directory=tmp_path / 'run')


@pytest.fixture
def evaluator(tmp_path):
    """``evaluator(kind, **options)`` makes a quiet evaluator."""
    quiet = dict.fromkeys(('logger', 'enable_checkpointing', 'enable_progress_bar', 'enable_model_summary'), False)

    def make(kind=Classification, **options):
        if 'datamodule' not in options:
            options.setdefault('train_dataloaders', DataLoader(DATA, batch_size=40))
            options.setdefault('val_dataloaders', DataLoader(DATA, batch_size=40))
        if kind is Classification:
            options['num_classes'] = 10
        return kind(max_epochs=1, accelerator='cpu', default_root_dir=str(tmp_path), **{**quiet, **options})

    return make


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """``experiment(space, evaluator, strategy)``: one that has been run."""
    home = tmp_path / 'home'
    home.mkdir()
    monkeypatch.setattr(
        nni_experiment, 'Experiments', functools.partial(nni_experiment.Experiments, home_dir=str(home))
    )
    logging.getLogger('nni').setLevel(logging.ERROR)

    def run(space, evaluator, strategy):
        made = NasExperiment(space, evaluator, strategy)
        made.config.experiment_working_directory = str(tmp_path / 'nni')
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                made.run()
        finally:
            made.stop()
        return made

    return run


def test_a_strategy_is_called_with_a_space_and_an_engine(strategy, evaluator):
    made = strategy()
    made(RawFormatModelSpace(Net(), evaluator(enable_checkpointing=True)), SequentialExecutionEngine())
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert len(list(made.list_models())) == 1
    assert made.state_dict()  # what resumes it


def test_an_experiment_runs_in_this_process_and_exports_a_sample(strategy, evaluator, experiment):
    space = Net()
    done = experiment(space, evaluator(), strategy())
    assert done.config.execution_engine.name == 'sequential'
    assert done.config.model_format.name == 'raw'
    (sample,) = done.export_top_models(formatter='dict')
    assert space.contains(sample)
    network = space.freeze(sample)
    assert not network.simplify()
    assert network.conv1.out_channels == network.conv3.out_channels == sample['a']  # a shared label has one value
    with model_context(sample):
        assert {name: t.shape for name, t in Net().state_dict().items()} == {
            name: t.shape for name, t in network.state_dict().items()
        }


def test_data_may_come_from_a_data_module(strategy, evaluator, experiment):
    done = experiment(Net(), evaluator(datamodule=Data()), strategy())
    assert Net().contains(done.export_top_models(formatter='dict')[0])


def test_regression(strategy, evaluator, experiment):
    data = TensorDataset(IMAGES, IMAGES.flatten(1)[:, :3])
    loaders = {'train_dataloaders': DataLoader(data, batch_size=40), 'val_dataloaders': DataLoader(data, batch_size=40)}
    done = experiment(Net(classes=3), evaluator(Regression, **loaders), strategy())
    assert Net().contains(done.export_top_models(formatter='dict')[0])


@pytest.mark.parametrize('given', ['another evaluator', 'choices of the evaluator'])
def test_evaluators_that_cannot_train_a_supernet(strategy, evaluator, experiment, given):
    by = FunctionalEvaluator(print)
    if given == 'choices of the evaluator':
        by = evaluator(learning_rate=nni.choice('lr', [0.1, 0.01]))
    with pytest.raises((TypeError, ValueError)):
        experiment(Net(), by, strategy())


def test_costs_of_the_space_are_those_of_its_profiler(strategy, evaluator, experiment):
    done = experiment(Net(), evaluator(), strategy())
    (sample,) = done.export_top_models(formatter='dict')
    options = {'count_bias': False, 'count_normalization': False, 'count_activation': False}
    by_nni = FlopsProfiler(Net(), torch.zeros(1, 1, 8, 8), **options).profile(sample)
    if isinstance(done.strategy, CafeNet):
        assert done.strategy.result.space.macs(sample) == by_nni
        assert by_nni <= done.strategy.budgets[0].limits['macs']
    else:
        assert by_nni > 0
