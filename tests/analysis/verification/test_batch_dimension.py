"""Costs are those of one sample, whatever the batch of the example and wherever it stands."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import ExampleInput, WidthSpace
from nni_cafenet.analysis.measured_macs import layer_macs
from nni_cafenet.analysis.verification.macs import without_fused_attention


def counted(model, *inputs) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad(), without_fused_attention():
        model.eval()(*inputs)
    return counter.get_total_flops() // 2


def expect(model, example, *one) -> WidthSpace:
    """The costs of a space are those of a call with one sample, at several widths."""
    space = WidthSpace(model, example_input=example)
    for widths in (space.full_widths, space.uniform_widths(0.5), space.smallest_widths):
        assert space.macs(widths) == counted(space.slim(widths), *one), widths
    layers = layer_macs(model, space.example_input)
    assert sum(layers.values()) == space.macs(space.full_widths)
    return space


@pytest.fixture
def no_warning(caplog):
    caplog.set_level(logging.WARNING, 'nni_cafenet')
    yield
    assert not caplog.records


def orthogonal(net, x):
    x = net.turn(net.stem(x).relu().movedim(1, -1)).movedim(-1, 1)
    return net.fc(x.mean((2, 3)))


def hyper_network(net, x):
    """The weight of a layer comes out of a network over a table."""
    x = net.stem(x).relu().mean((2, 3))
    return net.fc(x) + x @ net.out(net.hidden(net.table).relu()).reshape(3, -1).mean(0)[: x.shape[1]][:, None]


def position_bias(net, x):
    """Swin v2: the bias of attention comes out of a network over a table of positions."""
    x = net.stem(x).relu().flatten(2).transpose(1, 2)
    bias = net.out(net.hidden(net.table).relu()).reshape(-1).mean() * torch.ones(x.shape[1], x.shape[1])
    return net.fc((x @ x.transpose(1, 2) + bias).softmax(-1) @ x).mean(1)


def product_of_weights(net, x):
    return net.fc(nn.functional.linear(net.stem(x).relu().mean((2, 3)), net.left @ net.right))


def mixed(net, x):
    return orthogonal(net, x) + net.out(net.hidden(net.table)).mean()


@pytest.mark.parametrize(
    ('wiring', 'batch'),
    [
        *((orthogonal, batch) for batch in (1, 2, 32)),
        *((wiring, 3) for wiring in (hyper_network, position_bias, product_of_weights, mixed)),
    ],
)
def test_products_of_weights_do_not_grow_with_the_batch(wired, no_warning, wiring, batch):
    parts = {'stem': nn.Conv2d(3, 8, 3, padding=1), 'fc': nn.Linear(8, 2)}
    if wiring in (orthogonal, mixed):
        parts['turn'] = parametrizations.orthogonal(nn.Linear(8, 8))
    if wiring is product_of_weights:
        parts |= {'left': nn.Parameter(torch.randn(8, 5)), 'right': nn.Parameter(torch.randn(5, 8))}
    if wiring in (hyper_network, position_bias, mixed):
        parts |= {'hidden': nn.Linear(2, 6), 'out': nn.Linear(6, 8)}
    model = wired(wiring, **parts)
    if 'hidden' in parts:
        model.register_buffer('table', torch.randn(3, 2))
    expect(model, (batch, 3, 4, 4), torch.zeros(1, 3, 4, 4))


def recurrent(net, x):
    return net.fc(net.layer(net.embed(net.first(x).relu()))[0])


def attention(net, x):
    x = net.embed(net.first(x).relu())
    return net.fc(x + net.layer(x, x, x, need_weights=False)[0])


LAYERS = {
    recurrent: nn.GRU(6, 6),
    attention: nn.MultiheadAttention(6, 2),
}


@pytest.mark.parametrize('size', [1, 2, 5])
@pytest.mark.parametrize('wiring', LAYERS)
def test_the_batch_of_sequences_is_dimension_1(wired, no_warning, wiring, size):
    model = wired(wiring, first=nn.Linear(4, 5), embed=nn.Linear(5, 6), layer=LAYERS[wiring], fc=nn.Linear(6, 2))
    space = WidthSpace(model, example_input=torch.randn(7, size, 4))
    assert space.example_input.batch_size == size
    assert space.example_input.with_batch(3).args[0].shape == (7, 3, 4)
    assert space.macs(space.full_widths) == counted(model, torch.zeros(7, 1, 4))


def test_zeros_do_not_hide_that_steps_depend_on_each_other(wired):
    model = wired(
        attention, first=nn.Linear(4, 5), embed=nn.Linear(5, 6), layer=nn.MultiheadAttention(6, 2), fc=nn.Linear(6, 2)
    )
    nn.init.zeros_(model.fc.weight)
    assert WidthSpace(model, example_input=torch.zeros(7, 2, 4)).example_input.batch_size == 2


@pytest.mark.parametrize(('batch_dim', 'size'), [(0, 7), (1, 2), (None, 1)])
def test_a_user_may_name_the_batch(wired, batch_dim, size):
    model = wired(lambda net, x: net.b(net.a(x).relu()), a=nn.Linear(4, 6), b=nn.Linear(6, 2))
    space = WidthSpace(model, example_input=ExampleInput((torch.randn(7, 2, 4),), {}, batch_dim=batch_dim))
    assert space.macs(space.full_widths) == (4 * 6 + 6 * 2) * 14 // size


@pytest.mark.parametrize('batch_dim', [3, -1, '0', True])
def test_a_batch_that_is_no_dimension_is_refused(batch_dim):
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    with pytest.raises(ValueError, match=rf'batch_dim={batch_dim!r} is no dimension'):
        WidthSpace(model, example_input=ExampleInput((torch.randn(7, 2, 4),), {}, batch_dim=batch_dim))


@pytest.mark.parametrize('batch_dim', ['auto', 0])
def test_a_batch_in_the_code_is_one_sample(wired, verified, caplog, batch_dim):
    def attend(net, x):  # runs on two samples alone
        query, key, value = (layer(x).view(2, 5, -1, 4).transpose(1, 2) for layer in (net.q, net.k, net.v))
        y = nn.functional.scaled_dot_product_attention(query, key, value)
        return net.o(y.transpose(1, 2).reshape(2, 5, -1))

    layers = {'q': nn.Linear(3, 24), 'k': nn.Linear(3, 24), 'v': nn.Linear(3, 24), 'o': nn.Linear(24, 2)}
    model = wired(attend, **layers)
    x = torch.randn(2, 5, 3)
    example = ExampleInput((x,), {}, batch_dim=batch_dim)
    graph = verified(model, example)
    assert {group.label: group.width for group in graph.groups} == {'q': 6}
    assert int(graph.cost.macs_of(graph.full_widths[None])[0]) == counted(model, x)
    caplog.clear()
    expect(model, example, x)
    [record] = [record for record in caplog.records if record.levelname == 'WARNING']
    assert 'Costs are those of the whole example_input ((2, 5, 3))' in record.getMessage()
    assert 'RuntimeError' in record.getMessage()


def test_a_list_of_two_pictures_in_the_code_is_one_sample(wired, caplog):
    model = wired(
        lambda net, xs: net.c(net.a(xs[0]) + net.b(xs[1])),
        a=nn.Conv2d(3, 8, 1),
        b=nn.Conv2d(3, 8, 1),
        c=nn.Conv2d(8, 2, 1),
    )
    pictures = [torch.rand(3, 4, 4), torch.rand(3, 4, 4)]
    expect(model, (pictures,), pictures)
    [record] = [record for record in caplog.records if record.levelname == 'WARNING']
    assert 'does not run on one sample of it (it fails with IndexError' in record.getMessage()


def test_a_picture_without_a_batch_is_one_sample(wired, caplog):
    model = wired(lambda net, x: net.b(net.a(x).relu()), a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(8, 2, 1))
    picture = torch.randn(3, 5, 5)
    space = expect(model, picture, picture)
    assert space.example_input.batch_size == 1
    assert 'Costs are those of the whole example_input ((3, 5, 5))' in caplog.text


def test_samples_that_depend_on_each_other_are_said(wired, caplog):
    model = wired(
        lambda net, x: net.b(net.a(x).relu()) @ net.c(x).T, a=nn.Linear(4, 6), b=nn.Linear(6, 3), c=nn.Linear(4, 3)
    )
    x = torch.randn(5, 4)
    expect(model, x, x)
    assert 'no dimension of it is a batch' in caplog.text


@pytest.mark.parametrize('first', ['table', 'picture'])
@pytest.mark.parametrize('rows', [5, 2])
def test_a_table_beside_the_batch(wired, no_warning, first, rows):
    def wiring(net, *inputs):
        table, x = inputs if first == 'table' else inputs[::-1]
        return net.fc(net.stem(x).relu().mean((2, 3))) + net.read(table).relu().mean(0)[:2]

    model = wired(wiring, stem=nn.Conv2d(3, 8, 3), read=nn.Linear(4, 6), fc=nn.Linear(8, 2))
    table, one = torch.randn(rows, 4), torch.zeros(1, 3, 4, 4)
    order = (lambda x: (table, x)) if first == 'table' else lambda x: (x, table)
    expect(model, order(torch.randn(2, 3, 4, 4)), *order(one))


def test_batch_statistics_do_not_make_a_batch_one_sample(wired, no_warning):
    model = wired(
        lambda net, x: net.b(net.n(net.a(x))).mean((2, 3)),
        a=nn.Conv2d(3, 8, 1),
        n=nn.BatchNorm2d(8, track_running_stats=False),
        b=nn.Conv2d(8, 2, 1),
    )
    expect(model, (3, 3, 4, 4), torch.zeros(1, 3, 4, 4))


def test_a_list_of_pictures(wired, no_warning):
    model = wired(
        lambda net, xs: [net.b(net.a(x[None]).relu()) for x in xs], a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(8, 2, 1)
    )
    pictures = [torch.randn(3, 4, 4), torch.randn(3, 6, 6)]
    expect(model, (pictures,), pictures[:1])


def test_pictures_that_depend_on_each_other_are_samples(wired, caplog):
    layers = {'a': nn.Conv2d(3, 8, 1), 'b': nn.Conv2d(8, 6, 1), 'c': nn.Linear(8, 2)}
    model = wired(lambda net, x: net.b(net.a(x)) * net.c(net.a(x).mean((0, 2, 3))).softmax(-1)[0], **layers)
    expect(model, (3, 3, 4, 4), torch.zeros(1, 3, 4, 4))
    assert 'depend on each other in Wired. Costs are those of one alone' in caplog.text
