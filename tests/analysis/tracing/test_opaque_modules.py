"""Parts that cannot be exported, left whole by ``exclude``."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import WidthMutator
from nni_cafenet.errors import TraceError


class Branching(nn.Module):
    """Python control flow on a value, which no export can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 6, 3, padding=1)

    def forward(self, x):
        y = self.conv(x)
        return {'out': y * 2 if y.sum() > 0 else y}


class Model(nn.Module):
    """conv1 (free) -> conv2 (read by the part) -> part -> conv3 (free) -> fc."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 8, 3, padding=1)
        self.part = Branching()
        self.conv3 = nn.Conv2d(6, 12, 3, padding=1)
        self.fc = nn.Linear(12, 4)

    def forward(self, x):
        x = self.conv3(self.part(self.conv2(self.conv1(x).relu()).relu())['out'])
        return self.fc(x.relu().mean((2, 3)))


def test_the_error_names_the_part_and_exclude(caplog, capfd):
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(TraceError, match=r"rejects its part 'part'.*exclude=\['part'\]"),
    ):
        WidthMutator().mutate(Model, example_input=(2, 3, 8, 8))
    assert 'torch.ops.aten' not in ''.join(capfd.readouterr())


def test_excluded_it_stays_whole_and_the_rest_is_searched():
    space = WidthMutator(exclude=['part']).mutate(Model, example_input=(2, 3, 8, 8))
    assert space.labels == ('conv1', 'conv3')
    reasons = {fixed.label: fixed.reason for fixed in space.graph.fixed}
    assert reasons['conv2'] == 'reaches part, which is excluded and cannot be exported'
    widths = {'conv1': 5, 'conv3': 7}
    slim = space.slim(widths)
    images = torch.randn(2, 3, 8, 8)
    space.activate(widths)
    torch.testing.assert_close(space(images), slim(images))
    with FlopCounterMode(display=False) as counter:
        slim(images[:1])
    assert space.macs(widths) == counter.get_total_flops() // 2
    assert space.params(widths) == sum(parameter.numel() for parameter in slim.parameters())
    assert 'forward' not in space.full_model.part.__dict__
