from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from nni_cafenet.ranks import rank_loader


def shares(samples: int, batch: int, ranks: int, **options):
    """Return the batches of all ranks, rank by rank."""
    loader = DataLoader(TensorDataset(torch.arange(samples)), batch, **options)
    found = []
    for rank in range(ranks):
        made = rank_loader(loader, rank, ranks, together=False)
        assert len(made) == len(loader)
        found.append([each.tolist() for (each,) in made])
    return found


@pytest.mark.parametrize(('samples', 'batch', 'ranks'), [(24, 8, 2), (24, 12, 3), (28, 8, 2), (22, 8, 3), (8, 8, 4)])
def test_the_shares_of_a_batch_are_the_batch(samples, batch, ranks):
    parts = shares(samples, batch, ranks)
    for index, each in enumerate(range(0, samples, batch)):
        together = [number for rank in range(ranks) for number in parts[rank][index]]
        assert sorted(together) == list(range(each, min(each + batch, samples)))


@pytest.mark.parametrize(('samples', 'batch', 'ranks'), [(17, 8, 2), (25, 8, 3), (13, 12, 4), (10, 8, 2)])
def test_a_small_last_batch_is_filled_from_the_one_before_it(samples, batch, ranks):
    parts = shares(samples, batch, ranks)
    assert sorted(number for rank in parts for each in rank for number in each) == list(range(samples))
    assert all(len(rank[-1]) >= 2 or len(rank[-2]) <= 2 for rank in parts)


def test_one_batch_with_too_few_samples_is_repeated():
    assert shares(2, 4, 3) == [[[0]], [[1]], [[0]]]


def test_batches_that_are_dropped_stay_dropped():
    assert shares(11, 4, 2, drop_last=True) == [[[0, 2], [4, 6]], [[1, 3], [5, 7]]]


class Endless(IterableDataset):
    def __iter__(self):
        return iter(range(3))


@pytest.mark.parametrize('loader', [[1, 2], DataLoader(Endless(), 2), DataLoader(TensorDataset(torch.zeros(4)), None)])
def test_other_batches_are_refused(loader):
    with pytest.raises(ValueError, match='train: batches of .* cannot be divided among 2 devices'):
        rank_loader(loader, 0, 2, name='train')


def test_batches_smaller_than_the_number_of_devices_are_refused():
    with pytest.raises(ValueError, match='a batch of 2 cannot be divided among 3 devices'):
        rank_loader(DataLoader(TensorDataset(torch.zeros(4)), 2), 0, 3)
