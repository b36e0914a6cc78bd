from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nni_cafenet.graph.example_input import ExampleInput
from nni_cafenet.stages.finite_outputs import computes_numbers


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


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16, torch.float16])
def test_an_example_of_another_precision_is_brought_to_that_of_the_network(dtype, caplog):
    model = network()
    example = ExampleInput.of((2, 3), model)
    assert computes_numbers(model.to(dtype), example)
    with torch.no_grad():
        model[3].bias.fill_(math.inf)
    assert not computes_numbers(model, example)
    assert not caplog.records
    assert example.args[0].dtype == torch.float32


def test_a_network_that_cannot_be_asked_is_taken_for_sound(caplog):
    model = network()
    assert computes_numbers(model, ExampleInput.of((2, 5), model))
    assert 'could not be checked' in caplog.text
    assert model.training
    model[0].weight.data.fill_(math.nan)
    assert not computes_numbers(model, ExampleInput.of((2, 5), model))
