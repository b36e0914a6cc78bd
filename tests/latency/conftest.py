"""Networks whose operators follow widths in every way, and a clock that computes instead of timing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nni_cafenet import EqualBins, WidthSpace
from nni_cafenet.latency.clock import Clock, Timing
from nni_cafenet.latency.recorded_ops import recorded_operators, tensor_sizes


class Joined(nn.Module):
    """A depthwise convolution, a sum, a concatenation of three, and a flattened picture."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.deep = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.left, self.right = nn.Conv2d(16, 8, 1), nn.Conv2d(16, 12, 1)
        self.fc = nn.Linear(36 * 16, 10)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = x + self.deep(x)
        x = torch.cat([x, self.left(x), self.right(x)], 1)
        return self.fc(x.flatten(1))


def elements(operator) -> int:
    import json

    return sum(math.prod(shape) for shape in tensor_sizes(json.loads(operator.arguments)))


class Computed(Clock):
    """An operator takes 100 ns and 3 for each element of its tensors; a network takes twice its operators and 5000 ns."""

    asked: list

    def __init__(self, device='cpu', threads=None) -> None:
        super().__init__(device, threads)
        self.asked = []

    def describe(self) -> str:
        return f'a computed clock, {self.threads} threads'

    def operator(self, operator) -> int:
        self.asked.append(operator.key)
        return 100 + 3 * elements(operator)

    def model(self, model, example, *, warmup=3, repeats=10, name='') -> Timing:
        self.asked.append('network')
        total = sum(100 + 3 * elements(operator) for operator in recorded_operators(model, example))
        return Timing.of([2 * total + 5000])


@pytest.fixture(scope='session')
def computed():
    """The class of a clock that computes: `Computed`."""
    return Computed


@pytest.fixture(scope='session')
def joined():
    """The space of a small network, never changed."""
    torch.manual_seed(0)
    return WidthSpace(Joined().eval(), example_input=(1, 3, 4, 4), bins=EqualBins(4), min_ratio=0)
