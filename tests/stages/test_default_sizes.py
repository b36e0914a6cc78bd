from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from nni_cafenet.search.evolution import Evolution
from nni_cafenet.search.searcher import RandomSearch
from nni_cafenet.stages.default_sizes import MOST_FINALISTS, Workload, training_batches

LARGE = Workload(training=10_000_000, epoch=5_000, heldout=50, channel_sets=2)
SMALL = Workload(training=30 * 18 * 4, epoch=18, heldout=2, channel_sets=2)
UNKNOWN = Workload(training=None, epoch=None, heldout=None, channel_sets=2)


def test_a_large_training_leaves_the_usual_defaults():
    assert LARGE.statistics_batches(20, 800) == 20
    assert LARGE.widths(20) > 800
    assert LARGE.finalists(1_000) == MOST_FINALISTS == 4


@pytest.mark.parametrize('epochs', [3, 10, 30, 100, 300, 1000])
@pytest.mark.parametrize('epoch', [2, 18, 200])
@pytest.mark.parametrize('heldout', [1, 20])
def test_a_search_costs_no_more_than_the_training(epochs, epoch, heldout):
    work = Workload(training=epochs * epoch * 4, epoch=epoch, heldout=heldout, channel_sets=2)
    batches = work.statistics_batches(20, 800)
    widths = min(800, work.widths(batches))
    assert 1 <= batches <= min(20, epoch)
    assert widths == 80 or work.search(widths * 6 // 5, batches) <= work.training
    if 4 < batches < min(20, epoch):  # both are reduced alike, and no more than needed
        assert widths * min(20, epoch) >= 800 * batches
        assert work.widths(batches + 1) * min(20, epoch) < 800 * (batches + 1)


def test_a_small_training_has_fewer_widths_for_each_of_several_budgets():
    batches = SMALL.statistics_batches(20, 800)
    assert Workload(4_000, 18, 2, 2).widths(4, 2) == Workload(4_000, 18, 2, 2).widths(4) // 2
    assert SMALL.widths(batches, 1000) == 80


def test_given_widths_leave_the_statistics_batches_that_an_epoch_has():
    assert SMALL.statistics_batches(20, 0) == 18


def test_finalists_after_the_first_cost_no_more_than_the_training():
    assert SMALL.finalists(20 * 30) == 1 + SMALL.training // (3 * 20 * 30) == 2
    assert SMALL.finalists(20 * 30, budgets=3) == 2
    assert SMALL.finalists(1) == 4


def test_what_is_not_known_bounds_nothing():
    assert UNKNOWN.statistics_batches(20, 800) == 20
    assert UNKNOWN.widths(20) is None
    assert UNKNOWN.finalists(None) == 4
    untrained = Workload(training=0, epoch=7, heldout=2, channel_sets=2)
    assert (untrained.statistics_batches(20, 800), untrained.widths(7), untrained.finalists(10)) == (7, None, 4)


def loader(samples=40):
    return DataLoader(TensorDataset(torch.zeros(samples, 1)), batch_size=4)


class Endless(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize(
    ('options', 'batches'),
    [
        ({'max_epochs': 3}, 30),
        ({'max_epochs': 3, 'limit_train_batches': 4}, 12),
        ({'max_epochs': 3, 'limit_train_batches': 0.5}, 15),
        ({'max_steps': 7}, 7),
        ({'max_epochs': 3, 'max_steps': 7, 'accumulate_grad_batches': 2}, 14),
        ({'max_epochs': -1}, None),
        ({'max_epochs': 0}, 0),
    ],
)
def test_batches_of_a_training(options, batches):
    trainer = pl.Trainer(accelerator='cpu', logger=False, enable_checkpointing=False, **options)
    assert training_batches(trainer, loader()) == batches


def test_loaders_without_a_length_are_unknown():
    trainer = pl.Trainer(accelerator='cpu', logger=False, enable_checkpointing=False, max_epochs=3)
    assert training_batches(trainer, DataLoader(Endless())) is None
    assert training_batches(trainer, [loader(), loader()]) is None


@pytest.mark.parametrize('total', [1, 2, 79, 80, 133, 500, 799, 800, 10_000])
def test_searchers_with_open_numbers_propose_at_most_so_many(total):
    for searcher in (Evolution(), Evolution(eta=5), RandomSearch(), Evolution(10), Evolution(generations=5)):
        found = searcher.at_most(total)
        assert found.total <= min(max(total, 10), searcher.total)
        assert found == found.at_most(1)  # settled
    both = Evolution().at_most(total)
    assert total < 80 or both.total > 0.9 * min(total, 800)
    assert total < 80 or 1.7 < both.population / both.generations < 2.6
    assert Evolution(eta=5).at_most(total).eta == 5


def test_given_numbers_are_kept():
    for searcher in (Evolution(40, 20), RandomSearch(1000), Evolution(3, 4, initial='uniform')):
        assert searcher.at_most(5) == searcher
    assert Evolution(10).at_most(50).generations == 5
    assert Evolution(generations=5).at_most(50).population == 10
    assert Evolution().at_most(10**6) == Evolution(40, 20)
