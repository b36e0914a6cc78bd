from __future__ import annotations

import random

import numpy as np
import torch
import torchmetrics
from torch import nn

from nni_cafenet.supernet.isolation import SideEffects


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


def test_statistics_of_a_normalisation_come_back_before_its_backward():
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
