from __future__ import annotations

import pytest
import torch
from torch import nn

from nni_cafenet.slicing.attributes import size_attributes
from nni_cafenet.slicing.module_call import apply_attributes, call_with, using_attributes
from nni_cafenet.slicing.selection import Selection, put, take

MATRIX = torch.arange(12.0).reshape(3, 4)


def at(*positions) -> tuple:
    return tuple(None if p is None else torch.tensor(p) for p in positions)


def test_neighbors_are_taken_as_a_view_others_as_a_copy():
    view = take(MATRIX, at(None, [1, 2]))
    assert view.tolist() == [[1, 2], [5, 6], [9, 10]]
    assert view.untyped_storage().data_ptr() == MATRIX.untyped_storage().data_ptr()
    copy = take(MATRIX, at([0, 2], [1, 3]))
    assert copy.tolist() == [[1, 3], [9, 11]]
    assert copy.untyped_storage().data_ptr() != MATRIX.untyped_storage().data_ptr()
    assert take(MATRIX, at(None, None)) is MATRIX


@pytest.mark.parametrize('where', [at([0, 2], [1, 3]), at([1], None), at(None, [0, 1]), at(None, None)])
def test_what_is_put_is_what_is_taken(where):
    target = torch.full((3, 4), -1.0)
    put(target, where, take(MATRIX, where))
    assert torch.equal(take(target, where), take(MATRIX, where))
    assert int((target >= 0).sum()) == take(MATRIX, where).numel()


def test_a_scalar_is_put_whole():
    counter = torch.tensor(3)
    put(counter, (), torch.tensor(5))
    assert counter.item() == 5


def test_gradients_arrive_at_the_taken_entries():
    weight = MATRIX.clone().requires_grad_()
    (take(weight, at([0, 2], [1, 3])) * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert weight.grad.tolist() == [[0, 1, 0, 2], [0, 0, 0, 0], [0, 3, 0, 4]]


@pytest.fixture
def network(wired, analyzed):
    """a makes 4 channels, a depthwise layer and a normalization follow, b reads 4 x 4 positions of each."""
    model = wired(
        lambda net, x: net.b(net.n(net.d(net.a(x))).flatten(1)),
        a=nn.Conv2d(3, 4, 1),
        d=nn.Conv2d(4, 8, 1, groups=4),
        n=nn.BatchNorm2d(8),
        b=nn.Linear(8 * 4, 2),
    ).eval()
    return model, analyzed(model, (1, 3, 2, 2))


def test_slices_by_hand(network):
    model, graph = network
    slices = Selection(graph, {'a': [0, 3]}).slices(model)
    torch.testing.assert_close(slices['a.weight'], model.a.weight[[0, 3]])
    torch.testing.assert_close(slices['a.bias'], model.a.bias[[0, 3]])
    torch.testing.assert_close(slices['d.weight'], model.d.weight[[0, 1, 6, 7]])
    torch.testing.assert_close(slices['n.running_var'], model.n.running_var[[0, 1, 6, 7]])
    columns = [*range(0, 8), *range(24, 32)]
    torch.testing.assert_close(slices['b.weight'], model.b.weight[:, columns])
    assert set(slices) == {
        'a.weight', 'a.bias', 'd.weight', 'd.bias', 'b.weight',
        'n.weight', 'n.bias', 'n.running_mean', 'n.running_var',
    }  # fmt: skip


def test_what_is_selected_whole_is_not_sliced(network):
    model, graph = network
    assert Selection(graph, {'a': range(4)}).slices(model) == {}
    assert Selection(graph, {}).slices(model) == {}


def test_attributes_by_hand(network):
    model, graph = network
    assert Selection(graph, {'a': [0, 3]}).attributes(model) == {
        'a': {'out_channels': 2},
        'd': {'groups': 2, 'in_channels': 2, 'out_channels': 4},
        'n': {'num_features': 4},
        'b': {'in_features': 16},
    }
    full = Selection(graph, {}).attributes(model)
    assert full['d'] == {'groups': 4, 'in_channels': 4, 'out_channels': 8}


def test_a_model_runs_on_a_selection(network):
    model, graph = network
    selection = Selection(graph, {'a': [0, 3]})
    x = torch.randn(2, 3, 2, 2)
    with using_attributes(model, selection.attributes(model)):
        assert model.d.groups == 2
        result = call_with(model, selection.slices(model), (x,), {})
    assert model.d.groups == 4
    # By hand: the channels of a, doubled, scaled and shifted; then the columns of b.
    y = nn.functional.conv2d(x, model.a.weight[[0, 3]], model.a.bias[[0, 3]]).repeat_interleave(2, 1)
    keep = [0, 1, 6, 7]
    y = y * model.d.weight[keep].reshape(1, 4, 1, 1) + model.d.bias[keep].reshape(1, 4, 1, 1)
    y = (y - model.n.running_mean[keep].reshape(1, 4, 1, 1)) / (model.n.running_var[keep] + 1e-5).sqrt().reshape(
        1, 4, 1, 1
    )
    y = y * model.n.weight[keep].reshape(1, 4, 1, 1) + model.n.bias[keep].reshape(1, 4, 1, 1)
    expected = y.flatten(1) @ model.b.weight[:, [*range(0, 8), *range(24, 32)]].T + model.b.bias
    torch.testing.assert_close(result, expected)


def test_a_layer_with_two_names_comes_back(wired):
    layer = nn.Linear(4, 4, bias=False)
    model = wired(lambda net, x: net.b(net.a(x)), a=layer, b=layer)
    full, x = layer.weight, torch.randn(2, 4)
    half = torch.eye(4) / 2
    torch.testing.assert_close(call_with(model, {'a.weight': half}, (x,), {}), x / 4)
    assert layer.weight is full
    with using_attributes(model, {'a': {'in_features': 2}, 'b': {'in_features': 2}}):
        assert layer.in_features == 2
    assert layer.in_features == 4


def test_tied_weights_are_replaced_everywhere_and_what_is_set_comes_out(wired):
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer('calls', torch.zeros(()))

        def forward(self, x):
            self.calls = self.calls + 1
            return x

    count = Counting()
    model = wired(lambda net, x: net.d(net.c(net.b(net.a(x)))), a=nn.Linear(3, 3), b=nn.Linear(3, 3), c=count, d=count)
    model.b.weight = model.a.weight
    zeros = torch.zeros(3)
    tensors = {'a.weight': 2 * torch.eye(3), 'a.bias': zeros, 'b.bias': zeros, 'c.calls': torch.zeros(())}
    torch.testing.assert_close(call_with(model, tensors, (torch.ones(1, 3),), {}), torch.full((1, 3), 4.0))
    assert tensors['c.calls'] == 2
    assert count.calls == 0


def test_attributes_come_back_after_an_error(network):
    model, _ = network
    with pytest.raises(RuntimeError), using_attributes(model, {'d': {'groups': 2}}):
        raise RuntimeError
    assert model.d.groups == 4
    assert apply_attributes(model, {'d': {'groups': 2}, 'b': {'in_features': 5}}) == {
        'd': {'groups': 4},
        'b': {'in_features': 32},
    }
    assert (model.d.groups, model.b.in_features) == (2, 5)


@pytest.mark.parametrize(
    ('module', 'shape', 'groups', 'expected'),
    [
        (nn.Conv1d(4, 8, 3, groups=2), (6, 2, 3), 2, {'in_channels': 4, 'out_channels': 6}),
        (nn.ConvTranspose2d(4, 8, 3, groups=2), (2, 3, 3, 3), 2, {'in_channels': 2, 'out_channels': 6}),
        (nn.Linear(4, 8), (6, 3), 1, {'in_features': 3, 'out_features': 6}),
        (nn.BatchNorm1d(8), (5,), 1, {'num_features': 5}),
        (nn.LayerNorm(8), (5,), 1, {'normalized_shape': (5,)}),
        (nn.PReLU(8), (5,), 1, {}),
    ],
)
def test_sizes_that_modules_of_torch_keep(module, shape, groups, expected):
    assert size_attributes(module, {'weight': shape}, groups) == expected
    assert size_attributes(module, {}, groups) == {}
