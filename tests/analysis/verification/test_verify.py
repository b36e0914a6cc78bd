from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nni_cafenet.analysis.rules import registry as rules
from nni_cafenet.analysis.verification import confirmed, verify_groups
from nni_cafenet.graph.example_input import ExampleInput

Conv = nn.Conv2d
PICTURE = (1, 3, 6, 6)


def chain(wired, wiring):
    return wired(wiring, a=Conv(3, 4, 1), b=Conv(4, 5, 1), c=Conv(5, 6, 1), d=Conv(6, 2, 1))


def test_a_right_graph_passes_unchanged(analyzed, verified, wired, caplog):
    model = chain(wired, lambda net, x: net.d(net.c(net.b(net.a(x)))))
    assert verified(model, PICTURE).labels == analyzed(model, PICTURE).labels == ('a', 'b', 'c')
    assert 'keep their width' not in caplog.text


@pytest.mark.parametrize(
    'wiring',
    [
        lambda net, x: net.d(net.c(net.b(net.a(x)).view(-1, 5, 6, 6))),
        lambda net, x: net.d(net.c(net.b(net.a(x)).reshape(1, 5, 36).unflatten(2, (6, 6)))),
    ],
    ids=['view', 'reshape'],
)
def test_a_number_in_the_models_code_is_found_among_good_groups(analyzed, verified, wired, caplog, wiring):
    model = chain(wired, wiring)
    assert analyzed(model, PICTURE).labels == ('a', 'b', 'c')
    graph = verified(model, PICTURE)
    assert graph.labels == ('a', 'c')
    reason = {record.label: record.reason for record in graph.fixed}['b']
    assert reason.startswith('at another width the model fails with RuntimeError: shape')
    assert 'The channels of b keep their width' in caplog.text


def test_python_code_that_looks_at_a_width_is_found(verified, wired):
    # The graph holds one branch; at another width the code takes the other, which computes something else.
    def odd(net, x):
        y = net.a(x)
        return net.d(net.c(net.b(y if y.shape[1] == 4 else torch.zeros_like(y))))

    graph = verified(chain(wired, odd), PICTURE)
    assert graph.labels == ('b', 'c')
    assert {r.label: r.reason for r in graph.fixed}['a'] == 'at another width the network computes something else'


def test_several_wrong_groups_are_all_found(verified, wired):
    def numbers(net, x):
        return net.d(net.c(net.b(net.a(x).view(1, 4, 6, 6))).view(1, 6, 6, 6))

    assert verified(chain(wired, numbers), PICTURE).labels == ('b',)


def test_a_missed_tie_is_found(monkeypatch, analyzed, verified, wired):
    # A sum whose rule forgets that both sides must agree.
    monkeypatch.setattr(rules, '_RULES', {**rules._RULES, 'aten.add': lambda call, x, y, **_: x.dims})
    model = wired(lambda net, x: net.c(net.a(x) + net.b(x)), a=Conv(3, 4, 1), b=Conv(3, 4, 1), c=Conv(4, 2, 1))
    assert analyzed(model, PICTURE).labels == ('a', 'b')
    # Either may not change while the other stays.
    assert verified(model, PICTURE).labels == ()


def test_groups_that_mix_channels_are_run_but_not_compared_with_zeros(verified, wired):
    model = wired(lambda net, x: net.b(net.a(x).softmax(1)), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    assert verified(model, PICTURE).labels == ('a',)
    fails = wired(lambda net, x: net.b(net.a(x).softmax(1).view(1, 4, 6, 6)), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    assert verified(fails, PICTURE).labels == ()


def test_heads_that_only_training_uses_are_run_in_training(verified, wired):
    def headed(net, x):
        y = net.a(x)
        if net.training:
            return net.b(y), net.end(net.n(net.head(y)).view(-1, 6, 6, 6))
        return net.b(y)

    members = {'a': Conv(3, 4, 1), 'b': Conv(4, 2, 1), 'head': Conv(4, 6, 1), 'n': nn.BatchNorm2d(6)}
    model = wired(headed, **members, end=Conv(6, 2, 1))
    before = copy.deepcopy(model.state_dict())
    assert verified(model, PICTURE).labels == ('a',)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_network_of_zeros_is_no_reason(verified, wired):
    # All effects vanish: nothing can be compared, nothing is wrong.
    model = wired(lambda net, x: net.b(F.relu(net.a(x) - 1e6)), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    assert verified(model, PICTURE).labels == ('a',)


def test_mixed_channels_in_the_wrong_place_are_found(monkeypatch, analyzed, verified, wired):
    # Layer normalization mixes, so that zeros say nothing; another order of the channels does.
    monkeypatch.setattr(rules, '_RULES', {**rules._RULES, 'aten.flip': lambda call, x, axes: x.dims})

    def flipped(net, x):
        return net.b(net.n(net.a(x)).flip(-1))

    members = {'a': nn.Linear(3, 4), 'n': nn.LayerNorm(4), 'b': nn.Linear(4, 2)}
    model = wired(flipped, **members)
    assert analyzed(model, (1, 5, 3)).labels == ('a',)
    graph = verified(model, (1, 5, 3))
    assert graph.labels == ()
    assert {r.label: r.reason for r in graph.fixed}['a'] == 'its channels do not stand where the analysis thinks'


@pytest.mark.parametrize('seed', range(8))
def test_a_reversed_order_is_found_whatever_is_drawn(monkeypatch, analyzed, wired, seed):
    # Many channel sets of 4 channels are the same in both orders: {1, 2}, {0, 3}. One draw would not do.
    monkeypatch.setattr(rules, '_RULES', {**rules._RULES, 'aten.flip': lambda call, x, axes: x.dims})

    def reversed_between(net, x):
        return net.d(net.c(net.b(net.a(x)).relu() * net.g.flip(0)[:, None, None]))

    model = wired(
        reversed_between,
        **{'a': Conv(3, 6, 1), 'b': Conv(6, 4, 1), 'c': Conv(4, 6, 1), 'd': Conv(6, 2, 1)},
        g=nn.Parameter(torch.rand(4)),
    )
    example = ExampleInput.of(PICTURE, model)
    graph = analyzed(model, PICTURE)
    assert graph.labels == ('a', 'b', 'c')
    assert 'b' not in verify_groups(model, graph, example, seed).labels
    assert confirmed(model, graph, example, seed) is None


def test_code_that_insists_on_float32_is_held_to_all_digits(analyzed, wired, caplog):
    # A norm that is computed in float32, as in most language models; its channels may be in any order.
    def run(net, x):
        y = net.a(x)
        z = y.to(torch.float32)
        z = z * torch.rsqrt(z.float().pow(2).mean(1, keepdim=True) + 1e-6)
        return net.b(z.to(y.dtype) * net.g[:, None, None])

    model = wired(run, a=Conv(3, 6, 1), b=Conv(6, 2, 1), g=nn.Parameter(torch.rand(6)))
    before = torch.get_default_dtype()
    graph = analyzed(model, PICTURE)
    assert graph.groups[0].channel_mixing
    assert verify_groups(model, graph, ExampleInput.of(PICTURE, model)).labels == ('a',)
    assert 'keep their width' not in caplog.text
    assert torch.get_default_dtype() is before
