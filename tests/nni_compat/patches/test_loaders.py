from __future__ import annotations

from nni.nas.oneshot.pytorch._dataloader import ConcatLoader
from torch import tensor
from torch.utils.data import DataLoader, TensorDataset

from nni_cafenet.nni_compat.patches.loaders import tell_loaders_of_batches

tell_loaders_of_batches()


def loaders():
    train, val = (TensorDataset(tensor(values)) for values in ([1, 2, 3, 4], [9]))
    loader = ConcatLoader({'train': DataLoader(train, batch_size=2), 'val': DataLoader(val)})
    loader.limits = None
    return iter(loader)


def test_released_nni_hands_over_the_batch_alone():
    released = ConcatLoader.__next__.__wrapped__
    batch, index, loader = released(loaders())
    assert [value.tolist() for value in batch] == [[1, 2]]
    assert (index, loader) == (0, 0)


def test_batches_come_with_their_loader():
    # Lightning hands the first of the three to the training step.
    given = [first for first, _, _ in loaders()]
    assert [(batch[0].tolist(), index, loader) for batch, index, loader in given] == [
        ([1, 2], 0, 0),
        ([3, 4], 1, 0),
        ([9], 0, 1),
    ]


def test_mending_twice_changes_nothing():
    before = ConcatLoader.__next__
    tell_loaders_of_batches()
    assert ConcatLoader.__next__ is before
