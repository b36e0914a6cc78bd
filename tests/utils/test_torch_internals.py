"""Every fallback for a private name of torch, run."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest
import torch
import torch.utils.checkpoint
from torch import nn
from torch.utils.data import DataLoader, RandomSampler

from nni_cafenet.utils import torch_internals as internals

MODULES = [
    nn.Conv2d(2, 2, 1),
    nn.ConvTranspose1d(2, 2, 1),
    nn.BatchNorm2d(2),
    nn.SyncBatchNorm(2),
    nn.InstanceNorm1d(2),
]


def test_base_classes(monkeypatch):
    def kinds(module):
        bases = (module.ConvNd, module.BatchNorm, module.StatisticsNorm)
        return [[isinstance(each, base) for base in bases] for each in (*MODULES, nn.GroupNorm(1, 2), nn.Linear(2, 2))]

    monkeypatch.delattr(nn.modules.conv, '_ConvNd')
    monkeypatch.delattr(nn.modules.batchnorm, '_BatchNorm')
    monkeypatch.delattr(nn.modules.batchnorm, '_NormBase')
    spec = importlib.util.spec_from_file_location('torch_internals_without', internals.__file__)
    without = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(without)
    assert isinstance(without.ConvNd, tuple)
    assert kinds(without) == kinds(internals)


def test_checkpoint_generators(monkeypatch):
    assert internals.checkpoint_generators()
    for name in internals.checkpoint_generators():
        monkeypatch.delattr(torch.utils.checkpoint, name)
    assert internals.checkpoint_generators() == []


@pytest.mark.parametrize('native', [True, False])
def test_many_tensors_at_once(monkeypatch, native):
    if not native:
        monkeypatch.delattr(torch, '_foreach_copy_')
        monkeypatch.delattr(torch, '_foreach_zero_')
    targets = [torch.ones(2), torch.ones(3)]
    internals.copy_each(targets, [torch.arange(2.0), torch.arange(3.0)])
    assert [each.tolist() for each in targets] == [[0, 1], [0, 1, 2]]
    internals.zero_each(targets[:1])
    assert [each.tolist() for each in targets] == [[0, 0], [0, 1, 2]]


def test_versions():
    tensor = torch.zeros(2)
    before = internals.version_of(tensor)
    tensor.add_(1)
    assert internals.version_of(tensor) == before + 1
    unversioned = SimpleNamespace()
    assert len({before, internals.version_of(unversioned), internals.version_of(unversioned)}) == 3


def test_uses_of_a_storage(monkeypatch):
    tensor = torch.zeros(4)
    alone = internals.storage_uses(tensor)
    view = tensor[:2]
    assert internals.storage_uses(view) == internals.storage_uses(tensor) == alone + 1
    monkeypatch.delattr(torch._C, '_storage_Use_Count')
    assert internals.storage_uses(tensor) != internals.storage_uses(tensor)


def test_transforms(monkeypatch):
    seen = []

    def loss(x):
        seen.append(internals.is_transformed())
        return x.sum()

    torch.func.grad(loss)(torch.ones(2))
    assert seen == [True]
    assert not internals.is_transformed()
    monkeypatch.delattr(torch._C, '_are_functorch_transforms_active')
    assert internals.is_transformed()


class Recorded(torch.autograd.Function):
    """Identity; notes whether its backward is seen to be one."""

    seen: list[bool] = []

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        Recorded.seen.append(internals.is_in_backward())
        return gradient


@pytest.mark.parametrize('native', [True, False])
def test_backward(monkeypatch, native):
    if not native:
        monkeypatch.delattr(torch._C, '_current_graph_task_id')
    monkeypatch.setattr(Recorded, 'seen', [])
    loss = Recorded.apply(torch.ones(2, requires_grad=True)).sum()
    assert not internals.is_in_backward()
    loss.backward()
    assert Recorded.seen == [True]
    assert not internals.is_in_backward()


def test_iterators_of_loaders():
    loader = DataLoader([1, 2])
    internals.put_persistent_iterator(loader, 'an iterator')
    assert loader._iterator == 'an iterator'
    without = SimpleNamespace()
    internals.put_persistent_iterator(without, 'an iterator')
    assert not vars(without)


@pytest.mark.parametrize('number', [None, 2])
def test_draws_of_a_sampler(number):
    sampler = RandomSampler(range(5), num_samples=number)
    public = SimpleNamespace(num_samples=sampler.num_samples, data_source=sampler.data_source)
    assert internals.draws_of(sampler) == internals.draws_of(public) == number


def test_recurrent_layers_keep_lists_of_their_weights():
    layer = nn.GRU(3, 4)
    old = layer._flat_weights
    layer._parameters['weight_hh_l0'] = other = torch.zeros(12, 4)
    before = internals.put_flat_weights(layer)
    assert before['_flat_weights'] is old
    assert layer._flat_weights[1] is other
    assert not layer._weights_have_changed()
    vars(layer).update(before)
    assert layer._flat_weights is old
    assert internals.put_flat_weights(nn.Linear(2, 2)) == {}  # where torch keeps no such lists
