from __future__ import annotations

import pytest
import torch
from torch import nn

from nni_cafenet.slicing.tensor_slots import TensorSlots


@pytest.fixture
def model(wired):
    return wired(lambda net, x: net.b(net.a(x)), a=nn.Linear(3, 3), b=nn.Linear(3, 3, bias=False), n=nn.BatchNorm1d(3))


def test_other_tensors_for_the_length_of_a_block(model):
    own = model.a.weight
    tensors = {'a.weight': torch.ones(3, 3), 'n.running_mean': torch.ones(3)}
    with TensorSlots(model).replaced(tensors):
        assert model.a.weight is tensors['a.weight']
        assert model.n.running_mean.sum() == 3
        model.n.running_mean = torch.zeros(3)
    assert model.a.weight is own
    assert tensors['n.running_mean'].sum() == 0  # what the model has put there


def test_the_model_comes_back_after_an_error(model):
    own = model.a.weight
    with pytest.raises(RuntimeError), TensorSlots(model).replaced({'a.weight': torch.ones(3, 3)}):
        raise RuntimeError
    assert model.a.weight is own


def test_tied_tensors_have_one_name_and_several_places(model):
    model.b.weight = model.a.weight
    slots = TensorSlots(model)
    assert 'b.weight' not in slots.parameters()
    assert slots.name_of(model.b, 'weight') == 'a.weight'
    other = torch.zeros(3, 3)
    with slots.replaced({'a.weight': other}):
        assert model.b.weight is other
    assert model.b.weight is model.a.weight


def test_tensors_that_now_stand_there(model):
    slots = TensorSlots(model)
    model.a.weight = nn.Parameter(torch.zeros(3, 3))
    assert slots.parameters()['a.weight'] is model.a.weight
    model.n.running_mean = None
    assert 'n.running_mean' not in slots.buffers()
    assert slots.is_current


@pytest.mark.parametrize(
    'change',
    [
        lambda model: setattr(model, 'a', nn.Linear(3, 3)),
        lambda model: model.add_module('c', nn.ReLU()),
        lambda model: model.n.register_buffer('more', torch.zeros(1)),
        lambda model: (
            model.b.register_parameter('bias', nn.Parameter(torch.zeros(3))) or model.b.register_parameter('z', None)
        ),
    ],
    ids=['another child', 'one child more', 'one buffer more', 'one parameter more'],
)
def test_a_model_that_has_changed(model, change):
    slots = TensorSlots(model)
    assert slots.is_current
    change(model)
    assert not slots.is_current
