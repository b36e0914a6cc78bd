"""Weights that are computed, by hand: which dimensions of which parameters are one group."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nni_cafenet.analysis.analyze import analyze_model
from nni_cafenet.analysis.constraints import Constraints, layer_of
from nni_cafenet.graph.example_input import ExampleInput

Conv = nn.Conv2d
PICTURE = (2, 3, 5, 5)


def graph_of(model, example=PICTURE):
    return analyze_model(model, ExampleInput.of(example, model))


def labels_of(graph, parameter):
    return [
        [segment.label for segment in graph.layout_of(parameter, axis)] for axis in range(len(graph.dims[parameter]))
    ]


def test_weight_norm_ties_lengths_to_rows(wired):
    model = wired(lambda net, x: net.b(F.relu(net.a(x))), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    for layer in (model.a, model.b):
        nn.utils.parametrizations.weight_norm(layer)
    graph = graph_of(model)
    assert {group.label: group.width for group in graph.groups} == {'a': 4}
    assert (graph.groups[0].producers, graph.groups[0].consumers, graph.groups[0].channel_mixing) == (
        ('a',),
        ('b',),
        True,
    )
    assert labels_of(graph, 'a.parametrizations.weight.original0') == [['a'], [], [], []]
    assert labels_of(graph, 'a.parametrizations.weight.original1') == [['a'], [], [], []]
    assert labels_of(graph, 'b.parametrizations.weight.original1') == [[], ['a'], [], []]
    # a: bias 4, lengths 4, directions 12; b: 2, 2, 8
    assert int(graph.cost.params_of(graph.full_widths[None])[0]) == 20 + 12


def test_spectral_norm_ties_the_singular_vectors(wired):
    model = wired(lambda net, x: net.c(F.relu(net.b(net.a(x)))), a=Conv(3, 4, 1), b=Conv(4, 6, 3), c=Conv(6, 2, 1))
    nn.utils.parametrizations.spectral_norm(model.b)
    graph = graph_of(model)
    assert graph.labels == ('a', 'b')
    assert labels_of(graph, 'b.parametrizations.weight.0._u') == [['b']]
    (segment,) = graph.layout_of('b.parametrizations.weight.0._v', 0)
    assert (segment.label, segment.positions, segment.inner) == ('a', 36, 9)


def test_a_depthwise_convolution_in_a_computed_type(wired):
    def run(net, x):
        with torch.autocast('cpu', dtype=torch.bfloat16):
            return net.b(net.d(net.a(x)))

    model = wired(run, a=Conv(3, 4, 1), d=Conv(4, 4, 3, groups=4), b=Conv(4, 2, 1))
    assert graph_of(model).labels == ('a',)


def test_a_masked_weight_belongs_to_its_layer(wired):
    model = wired(
        lambda net, x: net.b(F.linear(x, net.w * net.mask).relu()),
        w=nn.Parameter(torch.randn(4, 3)),
        mask=(torch.rand(4, 3) > 0.3).float(),
        b=nn.Linear(4, 2),
    )
    graph = graph_of(model, (2, 3))
    assert [(group.label, group.width) for group in graph.groups] == [('w', 4)]
    assert labels_of(graph, 'mask') == [['w'], []]


@pytest.mark.parametrize('channels', [False, True])
def test_fake_quantization(wired, channels):
    def run(net, x):
        y = net.a(x)
        if channels:
            y = torch.fake_quantize_per_channel_affine(y, net.scale, net.zero, 1, -128, 127)
        else:
            y = torch.fake_quantize_per_tensor_affine(y, 0.01, 0, -128, 127)
        return net.b(y)

    members = {'scale': torch.full((4,), 0.01), 'zero': torch.zeros(4, dtype=torch.int32)}
    model = wired(run, a=Conv(3, 4, 1), b=Conv(4, 2, 1), **(members if channels else {}))
    model.a.float()
    if channels:
        model.scale.fill_(0.01)
    graph = graph_of(model)
    assert graph.labels == ('a',)
    assert not channels or labels_of(graph, 'scale') == [['a']]


def test_names_of_layers():
    assert layer_of('features.0.weight') == 'features.0'
    assert layer_of('features.0.parametrizations.weight.original0') == 'features.0'
    assert layer_of('parametrizations.weight.original') == ''
    assert layer_of('scale') == ''


def test_the_owner_of_identities():
    constraints = Constraints()
    w = constraints.parameter('w', (4, 3, 3, 3), rigid=2)
    v = constraints.parameter('v', (5,))
    assert [dim is None for dim in w.dims] == [False, False, True, True]
    assert [constraints.owner(dim) for dim in (*w.dims, v.dims[0])] == [('w', 0), ('w', 1), None, None, ('v', 0)]
    assert constraints.owner(w.dims[1][::-1]) == ('w', 1)
    assert constraints.owner(constraints.new(3)) is None
