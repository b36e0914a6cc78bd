"""MACs of each layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nni_cafenet.analysis.measured_macs import layer_macs
from nni_cafenet.graph.example_input import ExampleInput


def counted(model, example):
    return layer_macs(model, ExampleInput.of(example, model))


def test_hand_worked(wired):
    model = wired(
        lambda net, x: net.head(net.tail(net.stem(x)).mean((2, 3))),
        stem=nn.Conv2d(3, 4, 3, padding=1),
        tail=nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 1, stride=2)),
        head=nn.Linear(6, 5),
    )
    # 8 x 8 places of 3 * 9 * 4, then 4 x 4 places of 4 * 6.
    expected = {'stem': 64 * 108, 'tail.2': 16 * 24, 'head': 30}
    assert counted(model, (1, 3, 8, 8)) == expected
    assert list(counted(model, (1, 3, 8, 8))) == list(expected)
    assert counted(model, (4, 3, 8, 8)) == expected  # of one sample


def test_products_count_for_the_module_that_computes_them(wired):
    part = wired(lambda net, x: net.proj(x @ x.transpose(1, 2)), proj=nn.Linear(5, 2))
    model = wired(lambda net, x: net.part(x) @ net.matrix, part=part, matrix=torch.ones(2, 3))
    # x is (1, 5, 7): 5 * 7 * 5 in the part, 5 * 5 * 2 in its layer, 5 * 2 * 3 in the model itself.
    assert counted(model, (1, 5, 7)) == {'': 30, 'part': 175, 'part.proj': 50}


def test_a_layer_that_runs_twice_counts_twice_and_one_that_is_called_by_another_module_counts_once(wired):
    layer = nn.Linear(3, 3)
    model = wired(lambda net, x: net.blocks['a'](net.blocks['a'](x)), blocks=nn.ModuleDict({'a': layer}), again=layer)
    assert counted(model, (1, 3)) == {'blocks.a': 18}


def test_attention_of_torch_is_counted_whole():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    # 5 places: in and out projections 4 * 64, the scores and their use 2 * 5 * 8, the two linear layers 128 each.
    assert counted(model, (1, 5, 8)) == {
        'self_attn': 5 * (4 * 64 + 2 * 5 * 8),
        'linear1': 5 * 128,
        'linear2': 5 * 128,
    }


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    counted(model, (2, 3, 4, 4))
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize('name', ['mobilenet_v2', 'squeezenet1_1'])
def test_they_add_up_to_the_cost_model(family, name):
    space = family(name)
    assert sum(layer_macs(space.full_model, space.example_input).values()) == space.macs(space.full_widths)
