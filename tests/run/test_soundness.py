from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nni_cafenet.channels.inputs import ExampleInput
from nni_cafenet.run.soundness import computes_numbers


def network(**values):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        for name, value in values.items():
            dict([*model.named_parameters(), *model.named_buffers()])[name.replace('_', '.', 1)].fill_(value)
    return model.train()


@pytest.mark.parametrize(
    ('values', 'sound'),
    [
        ({}, True),
        ({'0_weight': math.nan}, False),
        ({'1_running_var': math.nan}, False),
        ({'3_bias': math.inf}, False),
        ({'1_weight': 3e38, '1_bias': 3e38, '3_weight': 3e38}, False),
    ],
)
def test_a_network_is_sound_where_its_tensors_and_outputs_are_finite(values, sound):
    model = network(**values)
    example = ExampleInput.of((2, 3), model)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    assert computes_numbers(model, example) is sound
    assert torch.equal(torch.rand(1), expected)
    assert model.training
