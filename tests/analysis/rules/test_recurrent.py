"""Recurrent layers and cells: exact at random widths, their sizes follow, and every matrix product is counted."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import WidthSpace, load_slim, save_slim

Linear = nn.Linear
STEPS = (1, 4, 3)  # a sample, four steps, three features


@pytest.fixture
def space(wired, caplog):
    """``space(wiring, a=...)``: the space of a tiny network in float64, made without a warning."""

    def make(wiring, example=STEPS, **layers):
        torch.manual_seed(0)
        made = WidthSpace(wired(wiring, **layers), example_input=example).double()
        assert not [record for record in caplog.records if record.name.startswith('nni_cafenet')]
        return made

    return make


def is_exact(space, draw, *inputs) -> nn.Module:
    """Hold supernet and slim network to the same outputs, gradients, sizes and costs at two draws; return the last one."""
    for seed, training in ((0, False), (1, True)):
        widths, sets = draw(space, seed)
        space.activate(widths, sets)
        slim = space.slim(widths, sets).train(training)
        ours, theirs = space.train(training)(*inputs), slim(*inputs)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
        space.zero_grad()
        ours.square().sum().backward()
        theirs.square().sum().backward()
        for (name, full), (_, part) in zip(space.full_model.named_parameters(), slim.named_parameters()):
            torch.testing.assert_close(full.grad.sum(), part.grad.sum(), rtol=1e-9, atol=1e-12, msg=name)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            copy.deepcopy(slim).requires_grad_(False)(*inputs)  # the counter asks for that
        assert space.macs(widths) == counter.get_total_flops() // 2  # in float64 no kernel is fused
        assert space.params(widths) == sum(parameter.numel() for parameter in slim.parameters())
    return slim


def steps(*, dtype=torch.float64):
    return torch.randn(STEPS, dtype=dtype)


LAYERS = {
    'last state': (nn.GRU(5, 6, batch_first=True), lambda y: y[1][-1], 6),
    'two directions': (nn.LSTM(5, 6, 2, batch_first=True, bidirectional=True), lambda y: y[0].mean(1), 12),
    'all states': (
        nn.GRU(5, 6, 2, batch_first=True, bidirectional=True),
        lambda y: y[1].transpose(0, 1).reshape(y[1].shape[1], -1),
        24,
    ),
    'both states': (
        nn.LSTM(5, 6, batch_first=True, bidirectional=True),
        lambda y: torch.cat([y[1][0][-2], y[1][1][-1]], 1),
        12,
    ),
    'sum of directions': (
        nn.RNN(5, 6, batch_first=True, bidirectional=True, bias=False, nonlinearity='relu'),
        lambda y: sum(y[0].chunk(2, -1)),
        6,
    ),
}


@pytest.mark.parametrize('name', LAYERS)
def test_the_hidden_width_is_one_group(space, draw, name):
    layer, read, size = LAYERS[name]
    made = space(lambda net, x: net.out(read(net.layer(net.a(x)))), a=Linear(3, 5), layer=layer, out=Linear(size, 2))
    assert made.full_widths == {'a': 5, 'layer': 6}
    slim = is_exact(made, draw, steps())
    assert slim.layer.weight_ih_l0.shape[1] == slim.layer.input_size == slim.a.out_features
    assert slim.layer.weight_hh_l0.shape[1] == slim.layer.hidden_size < 6


def test_a_projection_stays_narrower_than_the_hidden_width(space, draw):
    def run(net, x):
        return net.out(net.layer(net.a(x))[0])

    made = space(run, a=Linear(3, 5), layer=nn.LSTM(5, 8, batch_first=True, proj_size=4), out=Linear(4, 2))
    assert made.full_widths == {'a': 5, 'layer': 4}  # two hidden channels for each of the projection
    slim = is_exact(made, draw, steps())
    assert (slim.layer.hidden_size, slim.layer.proj_size) == tuple(slim.layer.weight_hr_l0.shape[::-1])
    made = space(run, a=Linear(3, 5), layer=nn.LSTM(5, 7, batch_first=True, proj_size=4), out=Linear(4, 2))
    assert made.full_widths == {'a': 5, 'layer': 4}
    assert 'must stay wider than its projection' in str(made.graph.fixed)
    assert is_exact(made, draw, steps()).layer.hidden_size == 7


@pytest.mark.parametrize('kind', [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells_in_a_loop(space, draw, kind):
    def run(net, x):
        state = None
        for step in range(x.shape[1]):
            state = net.cell(net.a(x[:, step]), state)
        return net.out(state[0] if isinstance(state, tuple) else state)

    made = space(run, a=Linear(3, 5), cell=kind(5, 6), out=Linear(6, 2))
    assert made.full_widths == {'a': 5, 'cell': 6}
    slim = is_exact(made, draw, steps())
    assert slim.cell.weight_hh.shape[1] == slim.cell.hidden_size
    assert slim.cell.weight_ih.shape[1] == slim.cell.input_size


def test_states_carry_the_hidden_width_from_layer_to_layer(space, draw):
    def run(net, x):
        y, state = net.encoder(x)
        z, _ = net.decoder(x.flip(1), state)
        return net.out(torch.cat([z, (z @ y.transpose(1, 2)).softmax(-1) @ y], -1))

    layers = {'encoder': nn.LSTM(3, 6, batch_first=True), 'decoder': nn.LSTM(3, 6, batch_first=True)}
    made = space(run, **layers, out=Linear(12, 2))
    assert made.full_widths == {'encoder': 6}
    is_exact(made, draw, steps())


def test_a_learned_first_state(space, draw):
    def run(net, x):
        first = net.first.expand(-1, x.shape[0], -1).contiguous()
        return net.out(net.layer(x, first)[0])

    layer = nn.GRU(3, 6, batch_first=True)
    made = space(run, layer=layer, first=nn.Parameter(torch.randn(1, 1, 6)), out=Linear(6, 2))
    assert made.full_widths == {'layer': 6}
    is_exact(made, draw, steps())


@pytest.mark.parametrize('kind', [nn.GRU, nn.LSTM])
def test_packed_sequences(wired, draw, caplog, kind):
    def run(net, ids):
        lengths = (ids > 0).sum(1).cpu()
        packed = pack_padded_sequence(net.embed(ids), lengths, batch_first=True, enforce_sorted=False)
        y, state = net.layer(packed)
        y, _ = pad_packed_sequence(y, batch_first=True, total_length=ids.shape[1])
        last = state[0][-1] if isinstance(state, tuple) else state[-1]
        return net.out(torch.cat([y.amax(1), last], 1))

    layers = {'embed': nn.Embedding(9, 5), 'layer': kind(5, 6, batch_first=True), 'out': Linear(12, 2)}
    ids = torch.tensor([[3, 4, 0, 0], [5, 6, 7, 8]])
    space = WidthSpace(wired(run, **layers), example_input=ids).double()
    assert not [record for record in caplog.records if record.name.startswith('nni_cafenet')]
    assert space.full_widths == {'embed': 5, 'layer': 6}
    widths, sets = draw(space, 1)
    space.activate(widths, sets)
    torch.testing.assert_close(space(ids), space.slim(widths, sets)(ids), rtol=0, atol=1e-12)


def test_a_first_state_from_outside_keeps_the_hidden_width(space):
    def run(net, x, state):
        return net.out(net.layer(net.a(x), state)[0])

    example = (torch.randn(STEPS), torch.randn(1, 1, 6))
    made = space(run, example, a=Linear(3, 5), layer=nn.GRU(5, 6, batch_first=True), out=Linear(6, 2))
    assert made.full_widths == {'a': 5}
    assert 'meets a dimension of fixed size in aten.gru' in str(made.graph.fixed)


def test_maps_that_are_read_column_by_column(space, draw):
    def run(net, x):
        y = net.conv(x).relu()
        return net.out(net.layer(y.permute(0, 3, 1, 2).flatten(2))[0])

    layers = {'conv': nn.Conv2d(1, 5, 3, padding=1), 'layer': nn.GRU(20, 6, batch_first=True)}
    made = space(run, (1, 1, 4, 7), **layers, out=Linear(6, 2))
    assert made.full_widths == {'conv': 5, 'layer': 6}
    slim = is_exact(made, draw, torch.randn(1, 1, 4, 7, dtype=torch.float64))
    assert slim.layer.input_size == 4 * slim.conv.out_channels


def test_channels_that_are_steps_keep_their_number(space):
    layers = {'conv': nn.Conv1d(3, 5, 1), 'layer': nn.GRU(8, 6, batch_first=True), 'out': Linear(6, 2)}
    made = space(lambda net, x: net.out(net.layer(net.conv(x))[1][-1]), (1, 3, 8), **layers)
    assert made.full_widths == {'layer': 6}
    assert 'is the sequence of aten.gru' in str(made.graph.fixed)


def test_products_in_a_fused_kernel_are_counted(wired, caplog):
    model = wired(lambda net, x: net.out(net.layer(x)[0]), layer=nn.LSTM(3, 6, batch_first=True), out=Linear(6, 2))
    space = WidthSpace(model, example_input=STEPS)
    assert not [record for record in caplog.records if record.name.startswith('nni_cafenet')]
    assert space.macs({'layer': 5}) == 4 * (20 * 3 + 20 * 5 + 5 * 2)


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.LSTM(3, 6, 2, batch_first=True, bidirectional=True), Linear(12, 2)

    def forward(self, x):
        return self.out(self.layer(x)[0])


def test_slim_networks_are_saved_copied_and_trained(tmp_path):
    space = WidthSpace(Reader, example_input=STEPS)
    slim = space.slim({'layer': 4}).eval()
    x = steps(dtype=torch.float32)
    save_slim(slim, tmp_path, {'layer': 4}, example_input=STEPS)
    loaded = load_slim(Reader, tmp_path).eval()
    for other in (loaded, copy.deepcopy(slim), pickle.loads(pickle.dumps(slim))):
        assert torch.equal(other(x), slim(x))
    assert list(map(id, loaded.layer._flat_weights)) == list(map(id, loaded.layer.parameters()))
    assert repr(loaded.layer) == 'LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True)'
    assert type(slim.layer) is nn.LSTM
    optimizer = torch.optim.SGD(slim.parameters(), 0.1)
    slim(x).square().sum().backward()
    optimizer.step()
    assert not torch.equal(loaded(x), slim(x))


@pytest.mark.sweep
def test_slim_networks_are_scripted():
    slim = WidthSpace(Reader, example_input=STEPS).slim({'layer': 4}).eval()
    x = steps(dtype=torch.float32)
    assert torch.equal(torch.jit.script(slim)(x), slim(x))


def test_a_step_leaves_the_lists_of_weights_as_they_were():
    space = WidthSpace(Reader(), example_input=STEPS)
    lists = space.full_model.layer._flat_weights, space.full_model.layer._flat_weight_refs
    space.activate({'layer': 4})
    space(steps(dtype=torch.float32)).sum().backward()
    layer = space.full_model.layer
    assert (layer._flat_weights, layer._flat_weight_refs) == lists
    assert all(weight is own for weight, own in zip(layer._flat_weights, layer.parameters()))
