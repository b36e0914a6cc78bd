from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from helpers import models
from torch import nn

from nni_cafenet.analysis.analyze import analyze_model
from nni_cafenet.errors import TraceError
from nni_cafenet.graph.example_input import ExampleInput
from nni_cafenet.slicing.module_call import using_mode

Conv = nn.Conv2d
PICTURE = (1, 3, 6, 6)


def widths(graph) -> dict[str, int]:
    return {group.label: group.width for group in graph.groups}


def test_the_model_is_left_as_it_was(wired):
    model = wired(
        lambda net, x: net.b(net.n(net.a(x))),
        a=Conv(3, 4, 1),
        n=nn.BatchNorm2d(4),
        b=Conv(4, 2, 1),
        spare=Conv(2, 2, 1),
    )
    model.train()
    model.n.eval()
    model.b.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    own = dict(model.named_parameters())
    shown = repr(model)
    graph = analyze_model(model, ExampleInput.of(PICTURE, model))
    assert widths(graph) == {'a': 4}
    assert [module.training for module in model.modules()] == [True, True, False, True, True]
    assert [p.requires_grad for p in model.b.parameters()] == [False, False]
    assert all(p.requires_grad for p in model.a.parameters())
    assert all(p.grad is None for p in model.parameters())
    assert all(parameter is own[name] for name, parameter in model.named_parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert repr(model) == shown


def test_the_mode_comes_back_after_an_error():
    model = nn.Sequential(nn.ReLU().eval(), nn.Dropout())
    with pytest.raises(RuntimeError), using_mode(model, training=False):  # noqa: PT012 - the block is what is tested
        assert not model.training
        raise RuntimeError
    assert [module.training for module in model.modules()] == [True, False, True]


def headed(net, x):
    y = net.a(x)
    if net.training:
        return net.b(y), net.end(F.relu(net.head(y)))
    return net.b(y)


def test_heads_that_only_training_uses_are_followed_but_cost_nothing(wired):
    model = wired(headed, a=Conv(3, 4, 1), b=Conv(4, 2, 1), head=Conv(4, 6, 1), end=Conv(6, 2, 1))
    graph = analyze_model(model, ExampleInput.of(PICTURE, model))
    assert widths(graph) == {'a': 4, 'head': 6}
    assert graph.layout_of('head.weight', 1)[0].label == 'a'
    assert [group.macs_per_channel for group in graph.groups] == [36 * (3 + 2), 0]
    assert int(graph.cost.macs_of(graph.full_widths[None])[0]) == 36 * (12 + 8)
    # a 3*4 + 4, b 4*2 + 2, head 4*6 + 6, end 6*2 + 2
    assert int(graph.cost.params_of(graph.full_widths[None])[0]) == 16 + 10 + 30 + 14


def test_what_nothing_uses_does_not_change(wired):
    model = wired(lambda net, x: net.b(net.a(x)), a=Conv(3, 4, 1), b=Conv(4, 2, 1), spare=nn.Linear(4, 6))
    graph = analyze_model(model, ExampleInput.of(PICTURE, model))
    assert widths(graph) == {'a': 4}
    assert 'spare.weight' not in graph.dims
    assert int(graph.cost.params_of(graph.full_widths[None])[0]) == 16 + 10 + 30


def test_tied_parameters_are_one():
    model = models.tied()
    graph = analyze_model(model, ExampleInput.of((1, 3), model))
    # What b makes is what c reads, by the same rows and columns: one group.
    assert widths(graph) == {'a': 4}
    assert int(graph.cost.params_of(graph.full_widths[None])[0]) == 16 + 16 + 10
    assert int(graph.cost.macs_of(graph.full_widths[None])[0]) == 12 + 16 + 16 + 8


def test_several_inputs_keywords_and_outputs_of_any_kind(wired):
    def both(net, x, *, other, factor=1.0):
        y = net.a(x) + net.b(other) * factor
        return {'sum': net.c(y), 'parts': [net.d(y), y.mean((1, 2, 3))]}

    model = wired(both, a=Conv(3, 4, 1), b=Conv(2, 4, 1), c=Conv(4, 5, 1), d=Conv(4, 2, 1))
    example = {'x': torch.randn(1, 3, 6, 6), 'other': torch.randn(1, 2, 6, 6), 'factor': 2.0}
    graph = analyze_model(model, ExampleInput.of(example, model))
    assert widths(graph) == {'a': 4}
    assert {record.label: record.reason for record in graph.fixed} == {
        'c': "is an output of the model (['sum'])",
        'd': "is an output of the model (['parts'][0])",
    }


def test_outputs_keep_their_channels(wired):
    model = wired(lambda net, x: (net.b(net.a(x)), net.c(net.a(x))), a=Conv(3, 4, 1), b=Conv(4, 2, 1), c=Conv(4, 5, 1))
    assert widths(analyze_model(model, ExampleInput.of(PICTURE, model))) == {'a': 4}
    shown = wired(lambda net, x: (lambda y: (y, net.b(y)))(net.a(x)), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    with pytest.raises(ValueError, match='no channel group that can change'):
        analyze_model(shown, ExampleInput.of(PICTURE, shown))


def test_costs_are_of_one_sample(wired):
    one, many = (
        analyze_model(
            wired(lambda net, x: net.b(net.a(x)), a=Conv(3, 4, 1), b=Conv(4, 2, 1)), ExampleInput.of(shape, nn.ReLU())
        )
        for shape in (PICTURE, (5, 3, 6, 6))
    )
    assert int(one.cost.macs_of(one.full_widths[None])[0]) == 36 * 20
    assert int(many.cost.macs_of(many.full_widths[None])[0]) == 36 * 20


# --- errors ---------------------------------------------------------------------------------------


def test_an_input_that_the_model_rejects(wired):
    model = wired(lambda net, x: net.b(net.a(x)), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    with pytest.raises(
        TraceError, match=r'example_input \(\(1, 5, 6, 6\)\) is rejected by the model Wired: RuntimeError'
    ):
        analyze_model(model, ExampleInput.of((1, 5, 6, 6), model))
    with pytest.raises(ValueError, match='Give an input that model\\(example_input\\) accepts'):
        analyze_model(model, ExampleInput.of((torch.zeros(PICTURE), torch.zeros(1)), model))


class Branching(nn.Module):
    """Control flow on the values of a tensor, which no graph can hold."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_model_that_cannot_be_exported_names_the_part(wired):
    inner = wired(lambda net, x: net.branch(net.conv(x)), conv=Conv(4, 4, 1), branch=Branching())
    model = wired(lambda net, x: net.b(net.inner(net.a(x))), a=Conv(3, 4, 1), inner=inner, b=Conv(4, 2, 1))
    with pytest.raises(
        TraceError, match=r"rejects its part 'inner\.branch' with .*exclude=\['inner\.branch'\], or build"
    ):
        analyze_model(model, ExampleInput.of(PICTURE, model))
    assert model.training


def test_a_model_is_left_as_it_was_when_a_part_of_it_stays_whole(wired):
    part = wired(lambda net, x: net.branch(net.conv(x)), conv=Conv(4, 4, 1), branch=Branching())
    model = wired(
        lambda net, x: net.b(net.part(net.n(net.a(x)))),
        a=Conv(3, 4, 1),
        n=nn.BatchNorm2d(4),
        part=part,
        b=Conv(4, 5, 1),
    )
    model = nn.Sequential(model, Conv(5, 2, 1))
    before = copy.deepcopy(model.state_dict())
    assert analyze_model(model, ExampleInput.of(PICTURE, model), exclude=['0.part']).labels == ('0.b',)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_model_that_cannot_be_exported_as_a_whole(wired):
    model = wired(lambda net, x: net.b(net.a(x) if x.sum() > 0 else -net.a(x)), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    with pytest.raises(TraceError, match='torch.export rejects it with .*Build the space from a sub-module'):
        analyze_model(model, ExampleInput.of(PICTURE, model))


def test_a_model_without_a_group_says_why(wired):
    model = wired(lambda net, x: net.a(x), a=Conv(3, 4, 1))
    with pytest.raises(
        ValueError, match=r'(?s)Wired has no channel group that can change.*output of the model.*Include'
    ):
        analyze_model(model, ExampleInput.of(PICTURE, model))
