from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_lightning.utilities.data import _update_dataloader
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from nni_cafenet.supernet.data import EpochSampler, TrainingData


def loader(size=20, **options):
    return DataLoader(TensorDataset(torch.arange(size)), **{'batch_size': 4, 'shuffle': True, **options})


def numbers(batches):
    return [n for (batch,) in batches for n in batch.tolist()]


def identity(batch):
    return batch


def first_worker(worker):
    torch.manual_seed(worker)


class Nothing(IterableDataset):
    def __iter__(self):
        return iter(())


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(8))


def test_the_cut_is_disjoint_and_complete():
    data = TrainingData(loader(), holdout=0.2, seed=0)
    train, held = numbers(data.train), numbers(data.heldout)
    assert len(held) == 4
    assert sorted(train + held) == list(range(20))
    assert len(data) == len(train) == 16


def test_the_cut_is_made_by_the_seed_alone():
    def held(seed):
        torch.manual_seed(seed + 17)
        return numbers(TrainingData(loader(), holdout=0.3, seed=seed).heldout)

    torch.rand(3)
    assert held(0) == held(0)
    assert held(0) != held(1)
    assert len({tuple(held(seed)) for seed in range(10)}) > 5  # not always the same samples


def test_held_out_samples_come_in_order_and_none_is_dropped():
    data = TrainingData(loader(batch_size=8, drop_last=True), holdout=0.5, seed=0)
    assert numbers(data.heldout) == sorted(numbers(data.heldout))
    assert len(numbers(data.heldout)) == 10
    assert len(numbers(data.train)) == 8  # here drop_last counts, as the user wants it


def test_shuffling_follows_the_epoch_and_the_seed():
    epoch = 0
    data = TrainingData(loader(), holdout=0.2, seed=0, epoch=lambda: epoch)
    first = numbers(data.train)
    torch.manual_seed(123)
    assert numbers(data.train) == first  # the global generator plays no part
    epoch = 1
    second = numbers(data.train)
    assert second != first
    assert sorted(second) == sorted(first)
    epoch = 0
    assert numbers(data.train) == first
    other = TrainingData(loader(), holdout=0.2, seed=1, epoch=lambda: epoch)
    assert sorted(numbers(other.train)) != sorted(first)


def test_a_loader_that_does_not_shuffle_still_does_not():
    data = TrainingData(loader(shuffle=False), holdout=0.2, seed=0)
    assert numbers(data.train) == sorted(numbers(data.train))
    assert len(numbers(data.train)) == 16


def test_settings_are_kept():
    original = loader(
        batch_size=3,
        drop_last=True,
        num_workers=2,
        collate_fn=identity,
        worker_init_fn=first_worker,
        timeout=30,
        prefetch_factor=5,
        persistent_workers=True,
        multiprocessing_context='spawn',
    )
    data = TrainingData(original, holdout=0.2, seed=0)
    for made in (data.train, data.heldout):
        assert (made.batch_size, made.num_workers, made.timeout, made.prefetch_factor) == (3, 2, 30, 5)
        assert made.persistent_workers
        assert made.collate_fn is identity
        assert made.worker_init_fn is first_worker
        assert made.multiprocessing_context.get_start_method() == 'spawn'
    assert data.train.drop_last
    assert not data.heldout.drop_last
    assert original.dataset.tensors[0].tolist() == list(range(20))


def test_workers_see_the_cut_data():
    data = TrainingData(loader(num_workers=1), holdout=0.2, seed=0)
    assert sorted(numbers(data.train) + numbers(data.heldout)) == list(range(20))


@pytest.mark.parametrize(('holdout', 'size'), [(0.01, 20), (0.99, 20), (0.5, 1)])
def test_an_empty_part_is_refused(holdout, size):
    with pytest.raises(ValueError, match=rf'holdout={holdout} of {size} training samples leaves'):
        TrainingData(loader(size), holdout=holdout, seed=0)


class OwnSampler(torch.utils.data.Sampler):
    def __len__(self):
        return 20

    def __iter__(self):
        return iter(range(20))


def bare_iterable():
    return [torch.zeros(1)] * 3


@pytest.mark.parametrize(
    'make',
    [
        lambda: DataLoader(Stream(), batch_size=4),
        lambda: loader(shuffle=False, sampler=OwnSampler()),
        lambda: loader(shuffle=False, sampler=DistributedSampler(range(20), num_replicas=2, rank=0)),
        lambda: DataLoader(
            TensorDataset(torch.arange(20)),
            batch_sampler=torch.utils.data.BatchSampler(RandomSampler(range(20)), 4, True),
        ),
        lambda: loader(batch_size=None),
        bare_iterable,
    ],
    ids=['iterable', 'sampler', 'distributed', 'batch_sampler', 'no batches', 'list'],
)
def test_a_loader_that_cannot_be_cut_needs_score_data(make):
    given = make()
    with pytest.raises(ValueError, match='cannot be cut.* Give score_data='):
        TrainingData(given, holdout=0.2, seed=0)
    scores = loader(4)
    data = TrainingData(given, holdout=0.2, seed=0, score_loader=scores)
    assert data.train is given
    assert data.heldout is scores
    assert len(data) == 0
    assert data.generator is None


def test_score_data_leaves_all_samples_for_training():
    scores = loader(4)
    data = TrainingData(loader(), holdout=0.2, seed=0, score_loader=scores)
    assert sorted(numbers(data.train)) == list(range(20))
    assert data.heldout is scores


def test_batches_are_the_same_in_every_run_and_of_training_samples_only():
    data = TrainingData(loader(), holdout=0.2, seed=0)
    held = numbers(data.heldout)
    first = numbers(data.batches(3))
    assert len(first) == len(set(first)) == 12
    assert not set(first) & set(held)
    torch.manual_seed(99)
    numbers(data.train)
    assert numbers(data.batches(3)) == first
    assert first != sorted(first)  # a random part, not the first samples
    assert numbers(TrainingData(loader(), holdout=0.2, seed=0).batches(3)) == first
    assert numbers(TrainingData(loader(), holdout=0.2, seed=1).batches(3)) != first


def test_no_batches_read_nothing():
    class Untouchable(Dataset):
        def __len__(self):
            return 20

        def __getitem__(self, index):
            raise RuntimeError('read')

    data = TrainingData(DataLoader(Untouchable(), batch_size=4), holdout=0.2, seed=0)
    assert data.batches(0) == []
    with pytest.raises(RuntimeError, match='read'):
        data.batches(1)


def test_more_batches_than_there_are_go_round():
    data = TrainingData(loader(), holdout=0.2, seed=0)
    batches = numbers(data.batches(6))
    assert len(batches) == 24
    assert set(batches) == set(numbers(data.train))


def test_batches_of_an_iterable_loader():
    data = TrainingData(DataLoader(Stream(), batch_size=4), holdout=0.2, seed=0, score_loader=loader(4))
    assert [batch.tolist() for batch in data.batches(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3]]


def test_a_loader_without_a_single_batch():
    data = TrainingData(DataLoader(Nothing(), batch_size=4), holdout=0.2, seed=0, score_loader=loader(4))
    with pytest.raises(ValueError, match='gives no batch'):
        data.batches(1)


def test_an_epoch_sampler_is_a_permutation():
    sampler = EpochSampler(7, 0, lambda: 3)
    assert len(sampler) == 7
    assert sorted(sampler) == list(range(7))
    assert list(sampler) == list(sampler)
    assert list(sampler) != list(EpochSampler(7, 0, lambda: 4))


def test_lightning_shards_the_samples_over_processes():
    # What Lightning does to a training loader under DDP, for both ranks in this process.
    from lightning_fabric.utilities.distributed import DistributedSamplerWrapper

    epoch = 0
    data = TrainingData(loader(), holdout=0.2, seed=0, epoch=lambda: epoch)

    def shard(rank):
        sampler = DistributedSamplerWrapper(data.train.sampler, num_replicas=2, rank=rank, shuffle=True, seed=0)
        sampler.set_epoch(epoch)
        return numbers(_update_dataloader(data.train, sampler))

    first = [shard(0), shard(1)]
    assert sorted(first[0] + first[1]) == sorted(numbers(data.train))
    epoch = 1
    second = [shard(0), shard(1)]
    assert sorted(second[0] + second[1]) == sorted(first[0] + first[1])
    assert set(second[0]) != set(first[0])  # not the same halves in another order


def test_generator_of_workers_is_saved_with_the_run():
    data = TrainingData(loader(), holdout=0.2, seed=0)
    assert data.train.generator is data.generator
    state = data.generator.get_state()
    next(iter(data.train))
    assert not torch.equal(data.generator.get_state(), state)  # every pass draws a base seed of the workers from it


def test_the_share_is_rounded():
    for holdout, held in [(0.1, 2), (0.12, 2), (0.13, 3), (np.float64(0.5), 10)]:
        assert len(numbers(TrainingData(loader(batch_size=7), holdout=holdout, seed=0).heldout)) == held


# --- samplers that are kept, and parts that our own cut must not spoil --------------------------------


def passes(data, number=20):
    return [numbers(data.train) for _ in range(number)]


@pytest.mark.parametrize('draws', [3, 12, 50])
def test_a_number_of_samples_drawn_stays(draws):
    sampler = RandomSampler(range(20), replacement=True, num_samples=draws)
    data = TrainingData(loader(shuffle=False, sampler=sampler), holdout=0.2, seed=0)
    drawn = numbers(data.train)
    assert len(drawn) == draws
    assert len(data.train) == -(-draws // 4)
    assert not set(drawn) & set(numbers(data.heldout))


def test_samples_drawn_without_replacement_go_round_as_in_torch():
    sampler = RandomSampler(range(20), num_samples=40)
    drawn = numbers(TrainingData(loader(shuffle=False, sampler=sampler), holdout=0.2, seed=0).train)
    assert len(drawn) == 40
    assert {drawn.count(each) for each in drawn} == {2, 3}  # of 16 samples


def test_weights_of_samples_stay_theirs():
    weights = [0.0] * 10 + [1.0] * 9 + [1000.0]
    sampler = WeightedRandomSampler(weights, 12)
    data = TrainingData(loader(shuffle=False, sampler=sampler), holdout=0.2, seed=1)
    assert 19 in numbers(data.heldout) + numbers(data.train)
    for drawn in passes(data):
        assert len(drawn) == 12
        assert min(drawn) >= 10
    assert numbers(data.batches(3)) == numbers(data.batches(3))


def test_too_few_samples_with_a_weight_are_refused():
    sampler = WeightedRandomSampler([1.0] * 12 + [0.0] * 8, 12, replacement=False)
    with pytest.raises(ValueError, match='WeightedRandomSampler of the training loader draws 12 samples, but'):
        TrainingData(loader(shuffle=False, sampler=sampler), holdout=0.5, seed=0)


def test_weights_of_another_data_set_are_refused():
    sampler = WeightedRandomSampler([1.0] * 5, 12)
    with pytest.raises(ValueError, match='WeightedRandomSampler draws cannot be cut'):
        TrainingData(loader(shuffle=False, sampler=sampler), holdout=0.5, seed=0)


def test_a_part_of_a_data_set_is_cut_as_such():
    sampler = torch.utils.data.SubsetRandomSampler([1, 3, 5, 7, 9, 11])
    data = TrainingData(loader(shuffle=False, sampler=sampler), holdout=0.3, seed=0)
    assert sorted(numbers(data.train) + numbers(data.heldout)) == [1, 3, 5, 7, 9, 11]


@pytest.mark.parametrize(('size', 'batch', 'holdout'), [(41, 6, 0.1), (20, 4, 0.13), (10, 3, 0.35), (4, 2, 0.7)])
def test_the_cut_leaves_no_last_batch_of_one(size, batch, holdout):
    data = TrainingData(loader(size, batch_size=batch), holdout=holdout, seed=0)
    assert min(len(each) for each in batches_of(data.train)) > 1
    assert len(numbers(data.train)) + len(numbers(data.heldout)) == size


def test_a_last_batch_of_one_of_the_users_own_stays():
    data = TrainingData(loader(21, batch_size=4), holdout=0.19, seed=0)  # 4 held out, as 0.19 * 21 says
    assert [len(each) for each in batches_of(data.train)] == [4, 4, 4, 4, 1]


def batches_of(loader):
    return [each[0] if isinstance(each, (list, tuple)) else each for each in loader]


class OwnLoader(DataLoader):
    def __iter__(self):
        return iter([torch.zeros(3)])


class NoLength(Dataset):
    def __getitem__(self, index):
        return torch.zeros(1)


@pytest.mark.parametrize(
    ('make', 'says'),
    [
        (lambda: OwnLoader(TensorDataset(torch.arange(20))), 'OwnLoader gives batches in its own way'),
        (lambda: DataLoader(NoLength(), sampler=OwnSampler()), 'a data set without a length'),
        (lambda: {'a': loader(), 'b': loader()}, 'several training loaders'),
        (lambda: [loader(), loader()], 'several training loaders'),
    ],
)
def test_why_a_loader_cannot_be_cut(make, says):
    with pytest.raises(ValueError, match=f'{says}.* cannot be cut.* Give score_data='):
        TrainingData(make(), holdout=0.2, seed=0)


@pytest.mark.parametrize('kind', [dict, list])
def test_batches_of_several_loaders(kind):
    loaders = {'a': loader(8, shuffle=False), 'b': loader(4, shuffle=False)}
    given = loaders if kind is dict else list(loaders.values())
    batches = TrainingData(given, holdout=0.2, seed=0, score_loader=loader(4)).batches(3)
    assert all(isinstance(batch, kind) and len(batch) == 2 for batch in batches)


def test_no_batch_is_left():
    with pytest.raises(ValueError, match=r'drop_last=True leaves no batch.* batches of 18 .* \(holdout=0.2 of 20\)'):
        TrainingData(loader(batch_size=18, drop_last=True), holdout=0.2, seed=0)
