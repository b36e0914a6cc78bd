"""Operators of a run without values: those of an export, or none."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nni_cafenet.analysis.analyze import analyze_model
from nni_cafenet.analysis.tracing import operators
from nni_cafenet.analysis.tracing.meta_run import run_on_meta
from nni_cafenet.graph.example_input import ExampleInput
from nni_cafenet.slicing.module_call import using_mode

Conv = nn.Conv2d
PICTURE = (1, 3, 6, 6)


def listed(model, example=PICTURE):
    return run_on_meta(model, ExampleInput.of(example, model))


def calls(graph):
    """Return the operators of a graph with the shapes of what they return."""
    return [
        (str(node.target), [tuple(leaf.shape) for leaf in torch.utils._pytree.tree_leaves(node.meta['val'])])
        for node in graph.nodes
        if node.op == 'call_function'
    ]


def test_hand_worked(wired):
    model = wired(
        lambda net, x: net.b(net.n(net.a(x)).relu_()).chunk(2, 1),
        a=Conv(3, 4, 3),
        n=nn.BatchNorm2d(4),
        b=Conv(4, 2, 1),
    ).eval()
    found, names = listed(model)
    assert calls(found.graph) == [
        ('aten.conv2d.default', [(1, 4, 4, 4)]),
        ('aten.batch_norm.default', [(1, 4, 4, 4)]),
        ('aten.relu_.default', [(1, 4, 4, 4)]),
        ('aten.conv2d.default', [(1, 2, 4, 4)]),
        ('aten.chunk.default', [(1, 1, 4, 4), (1, 1, 4, 4)]),
        ('<built-in function getitem>', [(1, 1, 4, 4)]),
        ('<built-in function getitem>', [(1, 1, 4, 4)]),
    ]
    placeholders = found.graph.find_nodes(op='placeholder')
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert [names[node.name] for node in placeholders[:-1]] == list(tensors)
    assert [node.meta['val'].shape for node in placeholders[:-1]] == [tensor.shape for tensor in tensors.values()]
    first = found.graph.find_nodes(op='call_function', target=torch.ops.aten.conv2d.default)[0]
    assert first.args[:3] == (placeholders[-1], placeholders[0], placeholders[1])


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 4)
        self.b.weight = nn.Parameter(torch.randn(4, 6))
        self.a.weight = nn.Parameter(torch.randn(6, 4))
        self.c = nn.Linear(4, 6, bias=False)
        self.c.weight = self.a.weight
        self.register_buffer('scale', torch.rand(6))
        self.out = nn.Linear(6, 2)

    def forward(self, x):
        filled = torch.zeros(2, 6)
        filled[torch.tensor([0])] = self.c(self.b(F.gelu(self.a(x))))
        return self.out(filled * self.scale.detach() + torch.arange(6) * 2.0)


def attention():
    return nn.Sequential(
        nn.Linear(4, 8), nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), nn.LayerNorm(8), nn.Linear(8, 3)
    )


def residual():
    from nni_cafenet.testing import SmallResNet

    return SmallResNet()


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize(
    ('make', 'example'),
    [(residual, (2, 1, 8, 8)), (attention, (2, 5, 4)), (Tied, (1, 4))],
    ids=['residual', 'attention', 'tied'],
)
def test_the_operators_are_those_of_an_export(make, example, training, monkeypatch):
    model = make()
    example = ExampleInput.of(example, model)
    with using_mode(model, training=training):
        found = operators.operators_of(model, example)
        monkeypatch.setattr(operators, 'run_on_meta', lambda *_: None)
        exported = operators.operators_of(model, example)
    detached = (
        'aten.detach.default',
        'aten.detach_.default',
        'aten.lift_fresh.default',
        'aten.lift_fresh_copy.default',
    )

    def told(listing):
        return [call for call in calls(listing.module.graph) if call[0] not in detached]

    assert isinstance(exported.module, torch.fx.GraphModule)
    assert not isinstance(found.module, torch.fx.GraphModule)
    assert told(found) == told(exported)
    assert set(found.tensors.values()) == set(exported.tensors.values()) - {'c.weight'}  # the second name of a.weight


@pytest.mark.parametrize('make', [residual, attention])
def test_the_graph_of_channels_is_that_of_an_export(make, monkeypatch):
    model = make()
    example = ExampleInput.of((2, 5, 4) if make is attention else (2, 1, 8, 8), model)
    found = analyze_model(model, example)
    monkeypatch.setattr(operators, 'run_on_meta', lambda *_: None)
    exported = analyze_model(model, example)
    assert (found.groups, found.fixed, found.dims) == (exported.groups, exported.fixed, exported.dims)
    assert (found.attributes, found.cuts, found.produced) == (exported.attributes, exported.cuts, exported.produced)


def reads_a_value(net, x):
    return net.b(net.a(x) if x.sum() > 0 else -net.a(x))


def size_by_values(net, x):
    return net.b(net.a(x)).flatten()[x.flatten()[:72] > 0]


def writes_into_a_part(net, x):
    y = net.a(x)
    y[:, :2] = x[:, :2]
    return net.b(y)


def reads_a_part_of_what_was_written(net, x):
    y = net.a(x)
    part = y[:, :2]
    y.mul_(x[:, :1])
    return net.b(torch.cat([part, part], 1))


def keeps_a_tensor(net, x):
    net.seen = net.a(x)
    return net.b(net.seen)


def keeps_a_tensor_in_a_list(net, x):
    net.history.append(net.a(x))
    return net.b(net.history[-1])


@pytest.mark.parametrize(
    'forward',
    [
        reads_a_value,
        size_by_values,
        writes_into_a_part,
        reads_a_part_of_what_was_written,
        keeps_a_tensor,
        keeps_a_tensor_in_a_list,
    ],
)
def test_where_a_run_on_shapes_does_not_tell_there_is_none_and_the_model_is_left_as_it_was(wired, forward):
    model = wired(forward, a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    model.history = []
    before = dict(model.__dict__)
    assert listed(model) is None
    assert model.__dict__ == before
    assert model.history == []
    assert not any(tensor.is_meta for tensor in model.parameters())


def test_a_constant_may_be_filled_piece_by_piece(wired):
    def forward(net, x):
        mask = x.new_zeros(6, 6)
        mask[:3] = -1
        return net.b(net.a(x) + mask)

    model = wired(forward, a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    assert listed(model) is not None


def test_counters_and_statistics_are_left_as_they_were(wired):
    def forward(net, x):
        net.times += 1
        return net.b(net.n(net.a(x)))

    model = wired(forward, a=Conv(3, 4, 1), n=nn.BatchNorm2d(4), b=Conv(4, 2, 1)).train()
    model.times = 0
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    assert listed(model, (2, *PICTURE[1:])) is not None
    assert model.times == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ('layers', 'example'),
    [
        ((Conv(3, 4, 1), nn.BatchNorm2d(5), Conv(4, 2, 1)), PICTURE),
        ((nn.Linear(3, 4), nn.LayerNorm(5), nn.Linear(4, 2)), (1, 3)),
        ((Conv(3, 4, 1).to('meta'), Conv(4, 2, 1)), PICTURE),
    ],
)
def test_what_does_not_run_is_not_listed(layers, example):
    model = nn.Sequential(*layers).eval()
    assert run_on_meta(model, ExampleInput((torch.ones(example),), {})) is None


@pytest.mark.parametrize('dtype', [torch.float16, torch.float64])
def test_precision_does_not_matter(wired, dtype):
    model = wired(lambda net, x: net.b(net.n(net.a(x))), a=Conv(3, 4, 1), n=nn.BatchNorm2d(4), b=Conv(4, 2, 1))
    single, _ = listed(model.eval())
    other, _ = listed(model.to(dtype))
    assert calls(other.graph) == calls(single.graph)
