from __future__ import annotations

import copy

import pytest
import torch
from helpers import models
from torch import nn

from nni_cafenet import WidthSpace


class Layer(nn.Conv2d):
    """A layer of a user's own, with a mark of its own."""

    def __init__(self, *args, mark='', **kwargs):
        super().__init__(*args, **kwargs)
        self.mark = mark


@pytest.fixture
def space(wired):
    """a makes 4 channels; cat with 2 of b; c reads both."""
    model = wired(
        lambda net, x: net.c(net.n(torch.cat([net.a(x), net.b(x)], 1))),
        a=Layer(3, 4, 1, mark='mine'),
        b=nn.Conv2d(3, 2, 1),
        n=nn.BatchNorm2d(6),
        c=nn.Conv2d(6, 5, 1),
    )
    return WidthSpace(model, example_input=(1, 3, 2, 2), min_ratio=0)


def test_slices_by_hand(space):
    sets = {'a': torch.tensor([1, 3]), 'b': torch.tensor([0])}
    slim = space.slim({'a': 2, 'b': 1}, sets)
    assert torch.equal(slim.a.weight, space.a.weight[[1, 3]])
    assert torch.equal(slim.b.bias, space.b.bias[[0]])
    assert torch.equal(slim.n.running_mean, space.n.running_mean[[1, 3, 4]])
    assert torch.equal(slim.c.weight, space.c.weight[:, [1, 3, 4]])
    assert torch.equal(slim.c.bias, space.c.bias)
    assert (slim.a.out_channels, slim.b.out_channels, slim.n.num_features, slim.c.in_channels) == (2, 1, 3, 3)


def test_without_sets_the_leftmost_channels_stay(space):
    slim = space.slim({'a': 3, 'b': 1})
    assert torch.equal(slim.c.weight, space.c.weight[:, [0, 1, 2, 4]])


def test_the_slim_model_owns_its_tensors(space):
    before = copy.deepcopy(space.state_dict())
    for widths in ({'a': 2, 'b': 2}, space.full_widths):
        slim = space.slim(widths)
        with torch.no_grad():
            for tensor in [*slim.parameters(), *slim.buffers()]:
                assert tensor.is_contiguous()
                assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()  # no view of more
                tensor.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in space.state_dict().items())


@pytest.mark.parametrize(
    ('layer', 'size', 'memory_format'),
    [(nn.Conv2d, (4, 4), torch.channels_last), (nn.Conv3d, (4, 4, 4), torch.channels_last_3d)],
)
def test_the_memory_format_is_kept_in_slim_models_and_slices(wired, layer, size, memory_format):
    model = wired(lambda net, x: net.c(net.b(net.a(x))), a=layer(3, 8, 3), b=layer(8, 8, 1), c=layer(8, 2, 2))
    space = WidthSpace(model.to(memory_format=memory_format), example_input=(1, 3, *size), min_ratio=0)
    sets = {'a': torch.tensor([1, 3, 5]), 'b': torch.arange(4)}
    slim = space.slim({'a': 3, 'b': 4}, sets)
    assert slim.a.weight.is_contiguous(memory_format=memory_format)
    assert not slim.a.weight.is_contiguous()
    x = torch.randn(2, 3, *size).contiguous(memory_format=memory_format)
    space.activate({'a': 3, 'b': 4}, sets)
    space(x).square().sum().backward()
    slim(x).square().sum().backward()
    torch.testing.assert_close(space.c.weight.grad[:, :4], slim.c.weight.grad)
    assert space.c.weight.grad.stride() == space.c.weight.stride()


def test_classes_own_attributes_modes_hooks_and_frozen_parameters_are_kept(space):
    space.train()
    space.n.eval()
    space.c.requires_grad_(False)
    calls = []
    space.a.register_forward_hook(lambda module, args, output: calls.append(output.shape))
    slim = space.slim({'a': 2, 'b': 1})
    assert type(slim.a) is Layer
    assert slim.a.mark == 'mine'
    assert (slim.a.training, slim.n.training) == (True, False)
    assert not slim.c.weight.requires_grad
    assert isinstance(slim.c.weight, nn.Parameter)
    assert slim.a.weight.requires_grad
    assert slim.a.weight.is_leaf
    slim(torch.zeros(1, 3, 2, 2))
    assert calls == [(1, 2, 2, 2)]


def test_the_full_model_keeps_its_sizes(space):
    space.slim({'a': 1, 'b': 1})
    assert (space.a.out_channels, space.c.in_channels, space.c.weight.shape) == (4, 6, (5, 6, 1, 1))


def test_tied_parameters_stay_tied():
    model = models.tied()
    space = WidthSpace(model, example_input=(1, 3))
    slim = space.slim({'a': 2}, {'a': torch.tensor([1, 3])})
    assert slim.c.weight is slim.b.weight
    assert torch.equal(slim.b.weight, model.b.weight[[1, 3]][:, [1, 3]])
    assert (slim.b.in_features, slim.b.out_features, slim.c.in_features, slim.c.out_features) == (2, 2, 2, 2)
    space.activate({'a': 2}, {'a': torch.tensor([1, 3])})
    x = torch.randn(5, 3)
    torch.testing.assert_close(space(x), slim(x))


def test_a_slim_model_can_be_searched_again(space):
    again = WidthSpace(space.slim({'a': 3, 'b': 2}), example_input=(1, 3, 2, 2), min_ratio=0)
    assert again.full_widths == {'a': 3, 'b': 2}
    assert again.slim({'a': 1, 'b': 1})(torch.zeros(1, 3, 2, 2)).shape == (1, 5, 2, 2)
