from __future__ import annotations

import nni
import nni.nas.strategy
import pytest
import torch
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.nn.pytorch import LayerChoice, ModelSpace, MutableConv2d, MutableLinear
from nni.nas.space import SimplifiedModelSpace
from torch import nn

from nni_cafenet import CafeNetPruner, WidthMutator, prune

EXAMPLE = (2, 1, 8, 8)


class Mixed(ModelSpace):
    def __init__(self, classes=10):
        super().__init__()
        c = nni.choice('c', [8, 16, 32])
        self.conv = MutableConv2d(1, c, 3, padding=1)
        self.act = LayerChoice([nn.ReLU(), nn.Identity()], label='act')
        self.fc = MutableLinear(c, classes)

    def forward(self, x):
        return self.fc(self.act(self.conv(x)).mean((2, 3)))


class Holds(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Mixed()

    def forward(self, x):
        return self.net(x)


@pytest.mark.parametrize('model', [Mixed, lambda: Mixed(), Mixed()], ids=['class', 'factory', 'live'])
def test_choices_that_are_no_widths_are_refused_with_the_ways_out(model):
    said = r"choices that are no widths: 'act': \[0, 1\] \(.*\). Fix them .*sample={'act': 0}.*an NNI strategy"
    with pytest.raises(TypeError, match=said) as caught:
        WidthMutator().mutate(model, example_input=EXAMPLE)
    assert "'c'" not in str(caught.value)


def test_parts_with_choices_are_refused():
    with pytest.raises(TypeError, match="Holds has parts with the choices 'c': .*Derive it from .*ModelSpace"):
        WidthMutator().mutate(Holds, example_input=EXAMPLE)


@pytest.mark.parametrize('how', ['live', 'factory'])
def test_a_frozen_space_is_an_ordinary_network(how):
    torch.manual_seed(0)
    found = Mixed().freeze({'c': 16, 'act': 0})
    x = torch.randn(EXAMPLE)
    expected = found(x)
    space = WidthMutator().mutate(found if how == 'live' else lambda: found, example_input=EXAMPLE)
    assert space.full_widths == {'conv': 16}
    assert torch.equal(space(x), expected)
    assert space.slim({'conv': 4})(x).shape == (2, 10)


@pytest.mark.parametrize('model', [Mixed, Mixed(classes=5)], ids=['factory', 'live'])
def test_choices_are_fixed_at_a_sample(model):
    more = {} if isinstance(model, nn.Module) else {'classes': 5}
    space = WidthMutator().mutate(model, sample={'c': 32, 'act': 1}, example_input=EXAMPLE, **more)
    assert space.full_widths == {'conv': 32}
    slim = space.slim({'conv': 8})
    assert isinstance(slim.act, nn.Identity)
    assert slim(torch.randn(EXAMPLE)).shape == (2, 5)
    assert not [module for module in slim.modules() if isinstance(module, LayerChoice)]


def test_a_space_at_a_sample_reaches_trials():
    space = WidthMutator().mutate(Mixed, sample={'c': 32, 'act': 1}, example_input=EXAMPLE)
    frozen = SimplifiedModelSpace.from_model(space, FunctionalEvaluator(print)).freeze({'conv': 8})
    slim = nni.load(nni.dump(frozen)).executable_model()
    assert slim.conv.out_channels == slim.fc.in_features == 8
    assert isinstance(slim.act, nn.Identity)


@pytest.mark.parametrize(
    ('sample', 'said'),
    [
        ({'c': 17, 'act': 0}, r'sample: 17 not found in \[8, 16, 32\]'),
        ({'c': 16, 'act': 0, 'depth': 3}, r"Mixed has no choices \['depth'\]"),
    ],
)
def test_samples_that_are_none(sample, said):
    with pytest.raises(ValueError, match=said):
        WidthMutator().mutate(Mixed, sample=sample, example_input=EXAMPLE)


def test_a_sample_that_leaves_other_choices_than_widths_open():
    with pytest.raises(TypeError, match=r"no widths: 'act': .*sample={'c': 16, 'act': 0}"):
        WidthMutator().mutate(Mixed, sample={'c': 16}, example_input=EXAMPLE)


def test_a_sample_of_an_ordinary_network():
    with pytest.raises(TypeError, match='Sequential is none. Leave it out'):
        WidthMutator().mutate(nn.Sequential(nn.Linear(4, 4)), sample={'c': 1}, example_input=(1, 4))


def test_a_space_with_choices_is_no_trained_network():
    said = "Mixed is a model space with the choices 'c': .*no trained network.*export_top_models.*Mixed.freeze"
    with pytest.raises(TypeError, match=said):
        prune(Mixed(), budget='50%', example_input=EXAMPLE)
    with pytest.raises(TypeError, match=said):
        CafeNetPruner(Mixed(), [{'op_types': ['Conv2d']}], budget='50%', example_input=EXAMPLE)
