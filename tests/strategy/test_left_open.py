from __future__ import annotations

import json
import logging

import pytest
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader
from torch.utils.data import TensorDataset

from nni_cafenet import CafeNet, EqualBins, Evolution, RandomSearch, WidthMutator
from nni_cafenet.testing import SmallResNet

IMAGES = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(IMAGES, torch.arange(40) % 10)


@pytest.fixture
def run(tmp_path, run_experiment):
    """``run(strategy)``: 40 samples, 1 epoch: far less than the usual search."""

    def run(strategy, epochs=1):
        torch.manual_seed(0)
        space = WidthMutator(bins=EqualBins(4)).mutate(SmallResNet, width=4, example_input=(1, 1, 8, 8))
        evaluator = Classification(
            num_classes=10,
            train_dataloaders=DataLoader(DATA, batch_size=8),
            val_dataloaders=DataLoader(DATA, batch_size=20),
            max_epochs=epochs,
            accelerator='cpu',
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=str(tmp_path / 'lightning'),
        )
        run_experiment(space, evaluator, strategy)
        return strategy

    return run


@pytest.fixture
def few(monkeypatch):
    """As few widths as a test needs."""
    monkeypatch.setattr('nni_cafenet.stages.default_sizes._FEWEST_WIDTHS', 12)


def cafenet(tmp_path, **options):
    return CafeNet('50%', holdout=0.2, directory=tmp_path / 'run', **options)


def record(tmp_path):
    return json.loads((tmp_path / 'run' / 'run.json').read_text())


def test_a_small_run_has_a_small_search_and_says_so(run, few, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger='nni_cafenet'):
        strategy = run(cafenet(tmp_path))
    (said,) = [each.message for each in caplog.records if 'By default' in each.message]
    assert '12 widths for each budget, not 800' in said
    usual = Evolution().at_most(Evolution().total)
    assert f'Evolution(population={usual.population}, generations={usual.generations})' in said
    assert 'finalist' not in said
    assert strategy.search == Evolution(6, 2)
    assert strategy.options.statistics_batches == 4  # of the batches of an epoch
    assert len(strategy.history) < 20
    assert record(tmp_path)['sizes'] == {'statistics_batches': 4, 'widths': 12}
    assert record(tmp_path)['scores']['statistics_batches'] == 4
    assert 'population=6' in record(tmp_path)['search']['search']


def test_given_numbers_are_kept_and_nothing_is_said(run, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger='nni_cafenet'):
        strategy = run(cafenet(tmp_path, search=RandomSearch(5), statistics_batches=7))
    assert not [each for each in caplog.records if 'By default' in each.message]
    assert (strategy.search, strategy.options.statistics_batches) == (RandomSearch(5), 7)
    assert record(tmp_path)['sizes'] == {}


def test_another_question_of_the_same_run_keeps_scores_and_sizes(run, few, tmp_path, monkeypatch):
    first = run(cafenet(tmp_path))
    monkeypatch.setattr('nni_cafenet.stages.default_sizes._FEWEST_WIDTHS', 10)  # another version of this package
    again = run(cafenet(tmp_path))
    assert again.search == first.search
    assert [each.widths for each in again.history] == [each.widths for each in first.history]
    more = run(cafenet(tmp_path, search=Evolution(6, 3)))
    assert len(more.history) > len(first.history)
    assert more.options.statistics_batches == 4
    other = CafeNet('60%', holdout=0.2, directory=tmp_path / 'other', supernet_from=tmp_path / 'run')
    assert run(other).options.statistics_batches == 4


def test_open_finalists_follow_the_training(run, tmp_path):
    strategy = run(cafenet(tmp_path, search=RandomSearch(4), finalists=None))
    assert [each.finalist.name for each in strategy.result.trained] == ['1', '2', 'uniform']
    assert record(tmp_path)['sizes']['finalists'] == 2


def test_the_numbers_to_give_are_those_of_the_searcher_in_use(run, few, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger='nni_cafenet'):
        run(cafenet(tmp_path, search=RandomSearch()))
    (said,) = [each.message for each in caplog.records if 'By default' in each.message]
    assert f'search=RandomSearch(n={RandomSearch().total})' in said
