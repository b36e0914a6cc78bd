from __future__ import annotations

import copy
import random
from collections import deque

import numpy as np
import torch
import torchmetrics
from torch import nn

from nni_cafenet.supernet.side_effects import SideEffects


class Module(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.bn = nn.BatchNorm1d(2)
        self.register_buffer('count', torch.zeros(()))
        self.acc = torchmetrics.Accuracy('multiclass', num_classes=2)
        self.all = torchmetrics.MetricCollection({'max': torchmetrics.MaxMetric(), 'list': torchmetrics.CatMetric()})

    def step(self, x):
        y = self.bn(self.linear(x))
        self.count += 1
        self.acc(y, torch.zeros(len(y), dtype=torch.long))
        self.all(y.detach().flatten())
        np.random.rand(), random.random(), torch.rand(1)
        return y.sum()


def state_of(module):
    metrics = {
        'acc': float(module.acc.compute()),
        'max': float(module.all['max'].compute()),
        'list': module.all['list'].compute().tolist(),
        'updates': module.acc.update_count,
    }
    buffers = {name: buffer.tolist() for name, buffer in module.named_buffers()}
    return metrics, buffers


def draws():
    return torch.rand(2).tolist(), np.random.rand(), random.random()


def test_everything_is_taken_back():
    torch.manual_seed(0)
    module = Module()
    module.step(torch.randn(4, 3))
    before = SideEffects(module)
    expected, numbers = state_of(module), draws()
    module.step(torch.randn(6, 3))
    assert state_of(module) != expected
    before.restore()
    assert state_of(module) == expected
    before.restore()
    assert draws() == numbers


def test_it_can_be_restored_again_and_again():
    torch.manual_seed(0)
    module = Module()
    module.step(torch.randn(4, 3))
    expected = state_of(module)
    before = SideEffects(module)
    for _ in range(3):
        module.step(torch.randn(4, 3))
        before.restore()
        assert state_of(module) == expected


def test_buffers_that_nobody_wrote_to_keep_their_version():
    # Autograd saves buffers (the mask of an attention, a positional encoding): writing to them would break backward.
    module = Module()
    before = SideEffects(module)
    loss = (module.linear(torch.randn(4, 3)) * module.count).sum()
    before.restore()
    loss.backward()
    assert module.count._version == 0


def test_a_buffer_that_was_replaced():
    # `self.count = self.count + 1` makes a new tensor instead of writing into the old one.
    module = Module()
    before = SideEffects(module)
    module.count = module.count + 5
    before.restore()
    assert float(module.count) == 0
    assert dict(module.named_buffers())['count'] is module.count


def test_gradients_and_parameters_are_none_of_its_business():
    module = Module()
    before = SideEffects(module)
    module.linear(torch.randn(4, 3)).sum().backward()
    grad = module.linear.weight.grad.clone()
    with torch.no_grad():
        module.linear.weight.fill_(1)
    before.restore()
    assert torch.equal(module.linear.weight.grad, grad)
    assert bool((module.linear.weight == 1).all())


def test_a_state_of_its_own_for_the_winner():
    # What the strategy does: take back a loser, then bring the winner's effects back.
    torch.manual_seed(0)
    module = Module()
    before = SideEffects(module)
    module.step(torch.randn(4, 3))
    winner, expected = SideEffects(module), state_of(module)
    before.restore()
    module.step(torch.randn(4, 3))
    winner.restore()
    assert state_of(module) == expected


def test_statistics_of_a_normalization_come_back_before_its_backward():
    # torch.batch_norm saves the running statistics for backward, and writes to them without raising their versions.
    torch.manual_seed(0)
    module, x = Module(), torch.randn(4, 3)
    before = SideEffects(module)
    loss = module.step(x)
    after, mean = SideEffects(module), module.bn.running_mean.clone()
    before.restore()
    assert module.bn.running_mean.tolist() == [0, 0]
    module.step(torch.randn(4, 3))
    after.restore()
    assert torch.equal(module.bn.running_mean, mean)
    loss.backward()
    assert module.linear.weight.grad is not None


class Keeper(nn.Module):
    """A user's module that keeps what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = Layer()
        self.losses, self.seen, self.last, self.by_name, self.cache = [], 0, None, {'x': [1]}, object()
        self.labels, self.recent = {'a'}, deque([1], maxlen=2)

    def step(self, x):
        loss = self.layer(x).sum()
        self.losses.append(loss)
        self.seen += len(x)
        self.last, self.new, self.cache = loss, loss.detach(), 3
        self.by_name['x'].append(2)
        self.by_name['y'] = [3]
        self.labels.add('b')
        self.recent.extend([2, 3])
        del self.layer.gone


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.calls, self.gone = nn.Linear(3, 2), 0, 1

    def forward(self, x):
        self.calls += 1
        self.features = self.linear(x)
        return self.features


def kept(module):
    names = ('losses', 'seen', 'last', 'by_name', 'labels', 'recent')
    return {name: copy.deepcopy(getattr(module, name)) for name in names}


def test_attributes_are_taken_back_with_what_is_in_them():
    module = Keeper()
    lists, cache = (module.losses, module.by_name['x'], module.recent), module.cache
    expected, before = kept(module), SideEffects(module)
    for _ in range(2):
        module.layer.gone = 1
        module.step(torch.randn(4, 3))
        before.restore()
        assert kept(module) == expected
        assert not hasattr(module, 'new')
        assert not hasattr(module.layer, 'features')  # it would keep the graph
        assert all(a is b for a, b in zip(lists, (module.losses, module.by_name['x'], module.recent)))
        assert module.cache is cache


def test_attributes_of_the_winner_come_back():
    module = Keeper()
    before = SideEffects(module)
    module.step(torch.randn(4, 3))
    winner, losses, features = before.snapshot(), list(module.losses), module.layer.features
    before.restore()
    module.layer.gone = 1
    module.step(torch.randn(5, 3))
    winner.restore()
    assert module.losses == losses
    assert (module.last, module.seen, module.by_name) == (losses[0], 4, {'x': [1, 2], 'y': [3]})
    assert module.layer.features is features


def test_buffers_of_every_kind():
    module = nn.Module()
    kinds = {
        'empty': torch.zeros(0),
        'number': torch.tensor(3),
        'flag': torch.tensor([True, False]),
        'brief': torch.randn(2, 3).bfloat16(),
        'turned': torch.randn(2, 3).t(),
        'sparse': torch.eye(3).to_sparse(),
        'expanded': torch.zeros(1).expand(4),
        'plain': torch.randn(2, 2),
    }
    for name, buffer in kinds.items():
        module.register_buffer(name, buffer)
    values = {name: buffer.clone() for name, buffer in kinds.items()}
    before = SideEffects(module)
    for name in ('number', 'flag', 'brief', 'turned', 'plain'):
        kinds[name].fill_(1)
    before.restore()
    for name, buffer in module.named_buffers():
        assert buffer is kinds[name]
        assert torch.equal(buffer.to_dense(), values[name].to_dense())
