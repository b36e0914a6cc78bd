"""Reshapes that several axes of could change: the one that the rest of the model leaves free does."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers.contracts import exact
from torch import nn

from nni_cafenet import WidthSpace, load_slim

Conv = nn.Conv2d
Linear = nn.Linear


class Unflattened(nn.Module):
    """Features of a linear layer become pictures of a number of channels that the module keeps."""

    def __init__(self, kept='number') -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kept, self.channels, self.shape = kept, 8, (8, 3, 3)
        self.f, self.conv = Linear(5, 72), nn.ConvTranspose2d(8, 2, 2)

    def forward(self, x):
        y = self.f(x).relu()
        y = y.view(-1, self.channels, 3, 3) if self.kept == 'number' else y.unflatten(1, self.shape)
        return self.conv(y)


class Reshaped(nn.Module):
    """A layer without parameters that keeps the number of channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x):
        return x.reshape(x.shape[0], self.channels, 3, 3)


def generator(between: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Linear(5, 72), between, nn.ConvTranspose2d(8, 2, 2))


class OpenHeads(nn.Module):
    """As in Whisper: queries leave the number of heads open, keys and values take it from the module."""

    def __init__(self, dim=12, heads=3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.heads, self.size = heads, dim // heads
        self.q, self.k, self.v, self.o = (Linear(dim, dim) for _ in range(4))

    def forward(self, x):
        n, rows, _ = x.shape
        q = self.q(x).view(n, rows, -1, self.size).transpose(1, 2)
        k, v = (layer(x).view(n, rows, self.heads, self.size).transpose(1, 2) for layer in (self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self.o(y.reshape(n, rows, -1))


class Grouped(nn.Module):
    """Queries of 4 heads share keys and values of 2."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.q, self.k, self.v, self.o = Linear(6, 16), Linear(6, 8), Linear(6, 8), Linear(16, 6)

    def shared(self, x):
        if self.how == 'repeated':
            return x.repeat_interleave(2, 1)
        n, heads, rows, size = x.shape
        return x[:, :, None].expand(n, heads, 2, rows, size).reshape(n, heads * 2, rows, size)

    def forward(self, x):
        n, rows, _ = x.shape
        q = self.q(x).unflatten(-1, (4, -1)).transpose(1, 2)
        k, v = (layer(x).unflatten(-1, (2, -1)).transpose(1, 2) for layer in (self.k, self.v))
        weights = (q @ self.shared(k).transpose(2, 3)).softmax(-1)
        return self.o((weights @ self.shared(v)).transpose(1, 2).flatten(2))


def same_as_slim(model: nn.Module, draw, shape) -> WidthSpace:
    """Build the space of a model and hold it against its slim models."""
    space = WidthSpace(model, example_input=shape).double()
    x = torch.randn(shape, dtype=torch.float64)
    for seed, kind in enumerate(('smallest', 'random', 'random')):
        widths, sets = draw(space, seed, kind)
        slim = space.slim(widths, sets)
        space.activate(widths, sets)
        with torch.no_grad():
            torch.testing.assert_close(space(x), slim(x), rtol=1e-9, atol=1e-9)
        assert space.params(widths) == sum(parameter.numel() for parameter in slim.parameters())
    return space


@pytest.mark.parametrize('kept', ['number', 'tuple'])
def test_pictures_made_of_features_change_their_channels(kept, draw, tmp_path):
    space = same_as_slim(Unflattened(kept), draw, (2, 5))
    assert dict(space.full_widths) == {'f': 8}
    assert space.graph.layout_of('f.weight', 0)[0].inner == 9
    slim = space.save_slim(tmp_path, {'f': 3})
    assert (slim.channels if kept == 'number' else slim.shape[0]) == 3
    x = torch.randn(2, 5, dtype=torch.float64)
    torch.testing.assert_close(load_slim(Unflattened(kept), tmp_path).double()(x), slim.double()(x))


@pytest.mark.parametrize('between', [nn.Unflatten(1, (8, 3, 3)), nn.Unflatten(1, torch.Size([8, 3, 3])), Reshaped(8)])
def test_layers_without_parameters_follow(between, draw, tmp_path):
    space = same_as_slim(generator(between), draw, (2, 5))
    assert dict(space.full_widths) == {'0': 8}
    slim = space.save_slim(tmp_path, {'0': 3})
    x = torch.randn(2, 5, dtype=torch.float64)
    torch.testing.assert_close(load_slim(generator(between), tmp_path).double()(x), slim.double()(x))


def test_heads_left_open_and_counted_are_decided_together(draw):
    model = nn.Sequential(Linear(5, 12), OpenHeads(), Linear(12, 2))
    space = same_as_slim(model, draw, (2, 4, 5))
    assert dict(space.full_widths) == {'0': 12, '1.q': 3, '1.o': 12}
    assert space.slim({'0': 12, '1.q': 2, '1.o': 12})[1].heads == 2


@pytest.mark.parametrize('how', ['repeated', 'expanded'])
def test_shared_keys_and_values_change_the_width_of_every_head(how, draw):
    space = same_as_slim(Grouped(how), draw, (2, 4, 6))
    assert dict(space.full_widths) == {'q': 4, 'v': 4}


def test_one_side_of_an_outer_product_changes(wired, draw):
    def bilinear(net, x):
        left, right = net.a(x).flatten(2), net.b(x).flatten(2)
        return net.c((left @ right.transpose(1, 2)).flatten(1))

    space = same_as_slim(wired(bilinear, a=Conv(3, 4, 1), b=Conv(3, 6, 1), c=Linear(24, 2)), draw, (2, 3, 4, 4))
    assert dict(space.full_widths) == {'b': 6}
    assert [record.label for record in space.graph.fixed] == ['a', 'c']


def test_pixels_shuffled_by_views(wired, draw):
    def shuffled(net, x):
        n, c, h, w = (y := net.a(x)).shape
        return net.b(y.view(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // 4, 2 * h, 2 * w))

    space = same_as_slim(wired(shuffled, a=Conv(3, 16, 1), b=Conv(4, 2, 1)), draw, (2, 3, 4, 4))
    assert dict(space.full_widths) == {'a': 4}


@pytest.mark.parametrize(('channels', 'together'), [(4, 2), (8, 2), (6, 3)])
def test_the_size_that_unflatten_leaves_open_is_the_one_that_changes(channels, together):
    """An einsum repeats a single channel, so that the other axis would run too where one pair is left."""

    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, channels, 3, padding=1)
            self.weight = nn.Parameter(torch.rand(channels, channels // together))

        def forward(self, x):
            x = self.stem(x).unflatten(-3, (-1, together)).amax(2)
            return torch.einsum('bchw,oc->bohw', x, self.weight).mean((2, 3))

    space = WidthSpace(Pairs().double(), example_input=(1, 3, 4, 4))
    assert space.full_widths == {'stem': channels // together}
    exact(space, torch.randn(2, 3, 4, 4, dtype=torch.float64))


# --- a single position, repeated as often as a tensor is wide ---------------------------------------


def gated(net, x):
    return net.gate(x).sigmoid().expand(-1, x.shape[1], -1, -1) * x


def gated_copies(net, x):
    return net.gate(x).sigmoid().repeat(1, x.shape[1], 1, 1) * x


def best_places(net, x):
    rows = x.flatten(2).transpose(1, 2)
    best = net.gate(x).flatten(1).topk(4)[1]
    return rows.gather(1, best.unsqueeze(2).expand(-1, -1, rows.shape[2])).transpose(1, 2).unflatten(2, (2, 2))


def masked_mean(net, x):
    """As sentence encoders pool their tokens."""
    mask = (net.gate(x) > 0).expand(x.size()).to(x)
    return (x * mask).sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp(min=1e-9)


@pytest.mark.parametrize('way', [gated, gated_copies, best_places, masked_mean])
def test_repeated_as_often_as_another_tensor_is_wide(way):
    class Repeated(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.gate, self.b = nn.Conv2d(3, 12, 1), nn.Conv2d(12, 1, 1), nn.Conv2d(12, 2, 1)

        def forward(self, x):
            return self.b(way(self, self.a(x)))

    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    space = exact(WidthSpace(Repeated().double(), example_input=x), x)
    assert space.full_widths == {'a': 12}


def test_repeated_as_often_as_a_constant_says():
    class Colored(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.o = nn.Conv2d(1, 6, 1), nn.Conv2d(6, 8, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x):
            return self.o(self.b(self.a(x) * x.expand(-1, 6, -1, -1)))

    x = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    space = exact(WidthSpace(Colored().double(), example_input=x), x)
    assert space.full_widths == {'b': 8}
