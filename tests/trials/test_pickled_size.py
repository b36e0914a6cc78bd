from __future__ import annotations

import pickle
import threading

import nni
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from nni_cafenet.trials.pickled_size import Measure, format_bytes, heaviest, measured


@nni.trace
class Large(TensorDataset):
    def __init__(self, size):
        super().__init__(torch.zeros(size))


@pytest.mark.parametrize('value', [list(range(1000)), 'x' * 5000, {'a': b'y' * 3000}])
def test_plain_objects_have_the_size_of_their_pickle(value):
    size, modules, problem, given_up = measured(value, by_records=False)
    assert abs(size - len(pickle.dumps(value))) < 32
    assert (modules, problem, given_up) == ([], None, False)


def test_tensors_and_arrays_are_counted_once_and_not_copied():
    whole = torch.empty(2**40, device='meta')
    array = np.zeros(1000)
    assert measured([whole, whole[:3]], by_records=False)[0] // 2**40 == 4
    assert 8000 < measured([array, array], by_records=False)[0] < 9000
    assert 4000 < measured(torch.zeros(1000)[:1], by_records=False)[0] < 5000  # its storage is pickled whole


def test_traced_objects_have_the_size_of_their_records():
    part = Subset(Large(10**6), [1])
    assert measured(part, by_records=False)[0] > 4 * 10**6
    assert measured(part, by_records=True)[0] < 2000


def test_large_objects_are_not_pickled_to_the_end():
    measure = measured(['x' * 2**20 + str(i) for i in range(30)], by_records=False)
    assert 2**24 < measure.size < 2**25
    assert str(measure) == 'more than 16.8MB'


def test_modules():
    assert measured([nn.Linear, DataLoader, pickle], by_records=False)[1][:3] == [
        'torch.nn.modules.linear',
        'torch.utils.data.dataloader',
        'pickle',
    ]
    assert __name__ in measured(Large(3), by_records=True)[1]


def test_what_cannot_be_pickled():
    assert measured([threading.Lock()], by_records=False) == Measure(
        0, [], "TypeError: cannot pickle '_thread.lock' object"
    )


def test_the_heaviest_part():
    dataset = TensorDataset(torch.zeros(1000), torch.zeros(1000, 10))
    assert heaviest('data', {'a': [1, dataset], 'b': 'x'}, by_records=False) == (
        ", 40.0KB of them in data['a'][1].tensors[1]"
    )
    assert heaviest('loader', DataLoader(dataset), by_records=False) == ', 40.0KB of them in loader.dataset.tensors[1]'
    assert heaviest('numbers', list(range(100)), by_records=False) == ''


def test_bytes():
    assert format_bytes(65536) == '65.5KB'
