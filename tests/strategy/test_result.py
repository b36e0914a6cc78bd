"""The result of a run, loaded from its folder, is what the strategy hands out."""

from __future__ import annotations

import copy

import pytest
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from torch import nn
from torch.utils.data import TensorDataset

from nni_cafenet import CafeNet, EqualBins, RandomSearch, RunResult, ShortTrainings, WidthMutator
from nni_cafenet.errors import FolderError, ResumeError

torch.manual_seed(0)
DATA = TensorDataset(torch.randn(120, 6), torch.randint(0, 3, (120,)))


def net(width: int = 16) -> nn.Module:
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 3))


def space_of(model: nn.Module):
    return WidthMutator(bins=EqualBins(4), verify=False).mutate(model, example_input=(2, 6))


def run(strategy, space):
    trainer = {'max_epochs': 1, 'accelerator': 'cpu', 'logger': False, 'enable_checkpointing': False}
    quiet = {'enable_progress_bar': False, 'enable_model_summary': False}
    loaders = {
        'train_dataloaders': DataLoader(DATA, batch_size=30, shuffle=True),
        'val_dataloaders': DataLoader(DATA, batch_size=60),
    }
    evaluator = Classification(num_classes=3, learning_rate=0.01, **loaders, **trainer, **quiet)
    strategy.initialize(RawFormatModelSpace(copy.deepcopy(space), evaluator), SequentialExecutionEngine())
    strategy.run()
    return strategy


def assert_same(strategy, loaded):
    assert loaded.budget_names == strategy.budget_names
    assert loaded.budgets == strategy.budgets
    assert [each.to_json() for each in loaded.history] == [each.to_json() for each in strategy.history]
    assert loaded.trained == strategy.trained
    assert loaded.short_trainings == strategy.short_trainings
    assert loaded.report() == strategy.report()
    assert [each.sample for each in loaded.list_models(limit=None)] == [
        each.sample for each in strategy.list_models(limit=None)
    ]
    for name, budget in zip(loaded.budget_names, loaded.budgets):
        assert loaded.best_within(budget, None) == strategy.best_within(budget, None)
        assert loaded.best_trained(name) == strategy.best_trained(name)
    model, same = (next(each.list_models()).executable_model().state_dict() for each in (strategy, loaded))
    assert all(torch.equal(model[name], same[name]) for name in model)


def test_of_a_supernet(tmp_path):
    space, directory = space_of(net()), tmp_path / 'run'
    options = {'search': RandomSearch(6), 'statistics_batches': 0, 'holdout': 0.2, 'directory': directory}
    strategy = CafeNet(['70%', '50%'], finalists=1, **options)
    with pytest.raises(RuntimeError, match='has not been run yet'):
        strategy.report()
    run(strategy, space)
    loaded = RunResult.load(directory, space)
    assert_same(strategy, loaded)
    with pytest.raises(RuntimeError, match=r'no data to re-estimate running statistics.* directory='):
        loaded.slim(next(iter(loaded.history)))
    with pytest.raises(ResumeError, match='differs from that of the run'):
        RunResult.load(directory, space_of(net(20)))

    strategy = run(CafeNet('60%', **options), space)  # another question to the supernet
    loaded = RunResult.load(str(directory), space)
    assert (loaded.report(), loaded.trained, loaded.budget_names) == (strategy.report(), [], [None])


def test_of_short_trainings(tmp_path):
    space, directory = space_of(net()), tmp_path / 'run'
    options = {'n': 3, 'epochs': (1, 2), 'holdout': 0.2, 'directory': directory}
    strategy = run(ShortTrainings('50%', **options), space)
    loaded = RunResult.load(directory, space)
    assert_same(strategy, loaded)
    scored = next(iter(loaded.history))
    assert loaded.slim(scored).state_dict().keys() == strategy.slim(scored).state_dict().keys()

    strategy = run(ShortTrainings('50%', finalists=1, **options), space)
    assert_same(strategy, RunResult.load(directory, space))


def test_where_there_is_none(tmp_path):
    with pytest.raises(FolderError, match='holds no finished run. Start its run again with this directory'):
        RunResult.load(tmp_path, space_of(net()))
