"""Layers of users: numbers that follow a width, and layers that no export can look into."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import contracts
from torch import nn

from nni_cafenet import WidthSpace, load_slim, register_layer
from nni_cafenet.analysis.rules import find_layer, registry as rules
from nni_cafenet.errors import TraceError
from nni_cafenet.graph.attributes import Attribute

PICTURE = (2, 3, 4, 4)


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Every test has a registry of its own."""
    monkeypatch.setattr(rules, '_LAYERS', dict(rules._LAYERS))


class Norm(nn.Module):
    """Normalization over channels, which keeps their number twice."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.shape = (dim,)
        self.weight = nn.Parameter(torch.rand(dim))

    def forward(self, x):
        x = x.reshape(x.shape[0], self.dim, -1).transpose(1, 2)
        return F.layer_norm(x, self.shape, self.weight).transpose(1, 2).reshape(x.shape[0], self.dim, 4, 4)


class Hidden(Norm):
    """A layer that reads a number which nothing but a declaration makes follow."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self._dim = dim

    def forward(self, x):
        return super().forward(x).reshape(-1, self._dim, 4, 4)


class GroupScale(nn.Module):
    """A gain for each channel of a group, the same in all groups."""

    def __init__(self, groups: int, inner: int) -> None:
        super().__init__()
        self.inner = inner
        self.groups = groups
        self.gain = nn.Parameter(torch.rand(inner))
        self.offset = nn.Parameter(torch.rand(groups * inner))

    def forward(self, x):
        y = x.reshape(x.shape[0], self.groups, self.inner, *x.shape[2:]) * self.gain.reshape(1, 1, -1, 1, 1)
        return y.reshape(x.shape) + self.offset.reshape(1, -1, 1, 1)


class Numpy(nn.Module):
    """A layer that leaves torch: nothing can export it."""

    def __init__(self, dim: int, bias: bool = True) -> None:
        super().__init__()
        self.dim = dim
        self.weight = nn.Parameter(torch.rand(dim) + 0.5)
        self.bias = nn.Parameter(torch.rand(dim)) if bias else None

    def forward(self, x, *, double=False):
        if x.shape[1] != self.dim:
            raise ValueError(f'{x.shape[1]} channels, not {self.dim}')
        shape = [1, -1, *[1] * (x.dim() - 2)]
        y = np.multiply(x.detach().numpy(), self.weight.detach().numpy().reshape(shape))
        y = torch.from_numpy(y) * (2 if double else 1)
        return y if self.bias is None else y + self.bias.reshape(shape)


def numpy_rule(call, x, double=False):
    channels = call.same(x.dims[1], call.tensor('weight').dims[0])
    bias = call.tensor('bias')
    if bias is not None:
        channels = call.same(channels, bias.dims[0])
    return (x.dims[0], channels, *x.dims[2:])


@pytest.fixture
def between(wired):
    """``between(layer)``: conv a 3 -> 8, the layer, conv b 8 -> 5, conv c 5 -> 2, of values of their own."""

    def make(layer, wiring=lambda net, x: net.c(net.b(net.layer(net.a(x))))):
        return wired(wiring, a=nn.Conv2d(3, 8, 1), layer=layer, b=nn.Conv2d(8, 5, 3, padding=1), c=nn.Conv2d(5, 2, 1))

    return make


def exact(model: nn.Module) -> WidthSpace:
    """Build the space of a model, check it against its slim models, and return it."""
    return contracts.exact(WidthSpace(model, example_input=PICTURE).double(), torch.randn(PICTURE, dtype=torch.float64))


def widths(space) -> dict[str, int]:
    return {group.label: group.width for group in space.graph.groups}


# --- numbers --------------------------------------------------------------------------------------


def test_without_its_number_a_layer_keeps_its_width(between, caplog):
    assert widths(WidthSpace(between(Hidden(8)), example_input=PICTURE)) == {'b': 5}
    assert 'The channels of a keep their width: at another width the model fails' in caplog.text


def test_a_number_follows_its_dimension(between, caplog, tmp_path):
    register_layer(Norm, sizes={'dim': ('weight', 0), 'shape': ['weight', -1]})
    with caplog.at_level(logging.WARNING, 'nni_cafenet'):
        space = exact(between(Norm(8)))
    assert not caplog.records
    assert widths(space) == {'a': 8, 'b': 5}
    assert space.graph.attributes == (
        Attribute('layer', 'dim', 'layer.weight', 0, 1),
        Attribute('layer', 'shape', 'layer.weight', 0, 1, (0,)),
    )
    slim = space.save_slim(tmp_path, {'a': 3, 'b': 5})
    assert (slim.layer.dim, slim.layer.shape) == (3, (3,))
    again = load_slim(lambda: between(Norm(8)).double(), tmp_path).eval()
    x = torch.randn(PICTURE, dtype=torch.float64)
    torch.testing.assert_close(again(x), slim.eval()(x))


def test_a_number_with_an_underscore_is_saved_too(between, tmp_path):
    register_layer(Hidden, sizes=dict.fromkeys(('dim', '_dim', 'shape'), ('weight', 0)))
    slim = WidthSpace(between(Hidden(8)), example_input=PICTURE).save_slim(tmp_path, {'a': 3, 'b': 5})
    assert load_slim(between(Hidden(8)), tmp_path).layer._dim == slim.layer._dim == 3


def test_subclasses_are_included_unless_they_have_their_own(between):
    class Derived(Hidden):
        pass

    register_layer(Hidden, sizes=dict.fromkeys(('dim', '_dim', 'shape'), ('weight', 0)))
    assert widths(WidthSpace(between(Derived(8)), example_input=PICTURE)) == {'a': 8, 'b': 5}
    register_layer(Derived)
    assert widths(WidthSpace(between(Derived(8)), example_input=PICTURE)) == {'b': 5}
    assert find_layer(nn.Conv2d) is None


def test_a_share_follows_where_the_operators_keep_it_whole(between):
    # 2 groups of 4: a channel goes from both. The inner number is half of the offsets, and of the channels of a.
    register_layer(GroupScale, sizes={'inner': ('offset', 0)})
    space = exact(between(GroupScale(2, 4)))
    assert widths(space) == {'a': 4, 'b': 5}
    assert space.graph.attributes == (Attribute('layer', 'inner', 'layer.offset', 0, 2),)
    assert space.slim({'a': 3, 'b': 5}).layer.inner == 3


def test_a_share_that_would_not_stay_whole_keeps_the_width(between):
    layer = Norm(8)
    layer.half = 4
    register_layer(Norm, sizes={'dim': ('weight', 0), 'shape': ('weight', 0), 'half': ('weight', 0)})
    space = exact(between(layer))
    assert widths(space) == {'b': 5}
    assert space.graph.fixed[0].reason == 'is 2 times layer.half, which no operator keeps whole'


# --- rules ----------------------------------------------------------------------------------------


def test_a_layer_that_cannot_be_exported_passes_channels_by_its_rule(between, caplog):
    register_layer(Numpy, sizes={'dim': ('weight', 0)})(numpy_rule)
    with caplog.at_level(logging.WARNING, 'nni_cafenet'):
        space = exact(between(Numpy(8)))
    assert not caplog.records
    assert widths(space) == {'a': 8, 'b': 5}
    assert space.graph.groups[0].others == ('layer',)
    assert space.graph.groups[0].macs_per_channel == 16 * (3 + 9 * 5)
    assert 'forward' not in space.full_model.layer.__dict__


def test_a_layer_is_called_with_other_shapes_and_keywords(between):
    def wiring(net, x):
        y = net.layer(net.a(x), double=True)
        return net.c(net.b(net.layer(y) + net.layer(y.mean((2, 3)))[:, :, None, None]))

    register_layer(Numpy, sizes={'dim': ('weight', 0)})(numpy_rule)
    assert widths(exact(between(Numpy(8, bias=False), wiring))) == {'a': 8, 'b': 5}


def test_a_rule_states_layers_costs_and_several_outputs(wired):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(8, 6)

        def forward(self, x):
            y = self.inner(x)
            return {'y': y * float(y.detach().numpy().max() > -1e9), 'x': x, 'n': None}

    @register_layer(Pair)
    def pair(call, x):
        weight, bias = call.tensor('inner.weight'), call.tensor('inner.bias')
        call.same(x.dims[-1], weight.dims[1])
        call.same(bias.dims[0], weight.dims[0])
        call.produces(weight, 0)
        call.reads(weight, 1)
        call.cost(call.shapes[0][0], [(8, weight.dims[1]), (6, weight.dims[0])])
        assert isinstance(call.module, Pair)
        return [(x.dims[0], weight.dims[0]), x.dims]

    def wiring(net, x):
        both = net.pair(net.a(x.flatten(1)))
        return net.b(both['y']) + net.c(both['x'])

    model = wired(wiring, a=nn.Linear(48, 8), pair=Pair(), b=nn.Linear(6, 2), c=nn.Linear(8, 2))
    space = exact(model)
    assert widths(space) == {'a': 8, 'pair.inner': 6}
    assert space.graph.groups[1].macs_per_channel == 8 + 2


@pytest.mark.parametrize(
    ('rule', 'message'),
    [
        (lambda call, x: call.tensor('scale'), r"KeyError.*has no parameter 'scale'; it has weight, bias"),
        (
            lambda call, x: x.dims[:2],
            r'ValueError: it gives dims of sizes \[.*8\] for an output of shape \(2, 8, 4, 4\)',
        ),
        (lambda call: (), 'whose rule failed with TypeError'),
        (lambda call, x: None, 'whose rule failed with TypeError'),
    ],
)
def test_a_rule_that_fails_keeps_the_widths(between, caplog, rule, message):
    register_layer(Numpy)(rule)
    space = exact(between(Numpy(8)))
    assert widths(space) == {'b': 5}
    reasons = {record.label: record.reason for record in space.graph.fixed}
    assert 'reaches layer, whose rule failed' in reasons['a']
    [record] = [record for record in caplog.records if 'layer (Numpy)' in record.getMessage()]
    assert record.levelname == 'WARNING'
    assert re.search(message, record.getMessage())


def test_a_wrong_rule_is_caught(between, caplog):
    @register_layer(Numpy, sizes={'dim': ('weight', 0)})
    def backwards(call, x):
        channels = call.same(x.dims[1][::-1], call.tensor('weight').dims[0])
        call.same(channels, call.tensor('bias').dims[0])
        return (x.dims[0], channels, *x.dims[2:])

    assert widths(exact(between(Numpy(8)))) == {'b': 5}
    assert 'The channels of a keep their width: at another width the network computes something else' in caplog.text


def test_parameters_that_a_rule_does_not_mention_stay(between):
    @register_layer(Numpy)
    def nothing(call, x):
        call.fix(x.dims[1], reason='is scaled by numpy')
        return x.dims

    space = exact(between(Numpy(8)))
    assert widths(space) == {'b': 5}
    assert {record.label: record.reason for record in space.graph.fixed}['a'] == 'is scaled by numpy'


def test_an_input_that_the_model_rejects_is_still_named(between):
    register_layer(Numpy)(numpy_rule)
    with pytest.raises(TraceError, match=r'example_input \(\(1, 4, 4, 4\)\) is rejected'):
        WidthSpace(between(Numpy(8)), example_input=(1, 4, 4, 4))


def test_an_excluded_layer_keeps_its_width(between):
    register_layer(Numpy, sizes={'dim': ('weight', 0)})(numpy_rule)
    space = WidthSpace(between(Numpy(8)), example_input=PICTURE, exclude=['a'])
    assert widths(space) == {'b': 5}


# --- bad registrations ----------------------------------------------------------------------------


@pytest.mark.parametrize('owner', ['Norm', 3, int, nn.Module, Norm(2)])
def test_a_class_that_is_none_is_refused(owner):
    with pytest.raises(TypeError, match=r'register_layer\(.*give a class of your own layers'):
        register_layer(owner)


def test_other_forms_are_refused():
    with pytest.raises(TypeError, match='names no class'):
        register_layer()
    with pytest.raises(TypeError, match=r'the rule must be a function rule\(call, \*inputs\)'):
        register_layer(Norm)(3)
    with pytest.raises(TypeError, match=r'sizes=5 must be a dict'):
        register_layer(Norm, sizes=5)


@pytest.mark.parametrize('source', ['weight', ('weight',), ('weight', '0'), ('weight', True), (0, 'weight')])
def test_sizes_of_another_form_are_refused(source):
    with pytest.raises(TypeError, match=r"sizes: 'dim': .* must be an attribute: \(parameter, axis\)"):
        register_layer(Norm, sizes={'dim': source})


@pytest.mark.parametrize(
    ('sizes', 'message'),
    [
        ({'dim': ('gamma', 0)}, r"layer has no parameter 'gamma'. Name one of weight"),
        ({'dim': ('weight', 1)}, r'layer.weight has no dimension 1, its shape is \(8,\)'),
        ({'width': ('weight', 0)}, r'width of layer is missing, which is no share of the 8 positions'),
        ({'other': ('weight', 0)}, r'other of layer is 3, which is no share of the 8 positions'),
        ({'weight': ('weight', 0)}, r'weight of layer is a Parameter.*Name an attribute that holds a whole number'),
    ],
)
def test_sizes_that_a_layer_does_not_have_are_refused(between, sizes, message):
    layer = Norm(8)
    layer.other = 3
    register_layer(Norm, sizes=sizes)
    with pytest.raises(ValueError, match=r'register_layer\(Norm, sizes=.*' + message):
        WidthSpace(between(layer), example_input=PICTURE)
