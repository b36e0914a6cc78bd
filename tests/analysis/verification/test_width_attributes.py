"""Numbers that modules keep, alone and in tuples and lists: which follow a width, and which only happen to equal one."""

from __future__ import annotations

import logging

import pytest
import torch
from helpers import contracts
from torch import nn

from nni_cafenet import WidthSpace, load_slim
from nni_cafenet.graph.attributes import Attribute

PICTURE = (2, 3, 4, 4)


class Scale(nn.Module):
    """A gain a channel, which is viewed in a shape that the module keeps."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.shape = (dim, 1, 1)
        self.gain = nn.Parameter(torch.rand(dim) + 0.5)

    def forward(self, x):
        return x * self.gain.view(self.shape)


class Halves(nn.Module):
    """Two paths, of half of the channels each; the module keeps the number of all."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.left, self.right = nn.Conv2d(dim // 2, 8, 1), nn.Conv2d(dim // 2, 8, 1)

    def forward(self, x):
        left, right = torch.split(x, self.dim // 2, 1)
        return self.left(left) + self.right(right)


class Scales(nn.Module):
    """As in Res2Net: equal parts, of a number that the module keeps."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = dim // 2
        self.conv = nn.Conv2d(self.width, self.width, 3, padding=1)

    def forward(self, x):
        first, second = torch.split(x, self.width, 1)
        return torch.cat([self.conv(first), second], 1)


class Mixed(nn.Module):
    """As in MixNet: a depthwise convolution for each of some parts, whose sizes are a list."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.splits = [dim - 3, 3]
        self.convs = nn.ModuleList(nn.Conv2d(n, n, k, padding=k // 2, groups=n) for n, k in zip(self.splits, (3, 1)))

    def forward(self, x):
        return torch.cat([conv(part) for conv, part in zip(self.convs, torch.split(x, self.splits, 1))], 1)


class Gated(nn.Module):
    """As in MambaOut: a gate of as many channels as two parts have, one of which is convolved; sizes in a tuple."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.parts = (dim, dim - 3, 3)
        self.wide = nn.Conv2d(dim, 2 * dim, 1)
        self.conv = nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.out = nn.Conv2d(dim, dim, 1)

    def forward(self, x):
        gate, still, moved = torch.split(self.wide(x), self.parts, dim=1)
        return self.out(gate * torch.cat([still, self.conv(moved)], 1))


class Context(nn.Module):
    """As in MobileViT: one channel of scores beside keys and values."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.inner = dim + 2
        self.qkv = nn.Conv2d(dim, 1 + 2 * self.inner, 1)
        self.out = nn.Conv2d(self.inner, dim, 1)

    def forward(self, x):
        query, key, value = torch.split(self.qkv(x), [1, self.inner, self.inner], dim=1)
        return self.out(value.relu() * (key * query.sigmoid()).sum((2, 3), keepdim=True))


class Linear(nn.Module):
    """As in GPT-2: a linear layer of its own, which shapes its output by a number."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.weight = nn.Parameter(torch.rand(inputs, outputs))
        self.bias = nn.Parameter(torch.rand(outputs))

    def forward(self, x):
        y = torch.addmm(self.bias, x.flatten(0, -2), self.weight)
        return y.view((*x.shape[:-1], self.outputs))


class Last(nn.Module):
    """Channels last."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.movedim(1, -1)).movedim(-1, 1)


class Reduced(nn.Module):
    """As in PVT: keys and values of a smaller picture, and every width taken from the input."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = 2
        self.q, self.kv, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.smaller = nn.Conv2d(dim, dim, 2, 2)

    def forward(self, x):
        n, c, h, w = x.shape
        small = self.smaller(x).reshape(n, c, -1).transpose(1, 2)
        q = self.q(x.flatten(2).transpose(1, 2)).reshape(n, h * w, self.heads, c // self.heads).transpose(1, 2)
        k, v = self.kv(small).reshape(n, -1, 2, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h * w, c)
        return self.out(y).transpose(1, 2).reshape(n, c, h, w)


def around(layer: nn.Module) -> nn.Sequential:
    """A convolution 3 -> 8, a layer that keeps 8 channels, and a convolution 8 -> 2."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 1), layer, nn.Conv2d(8, 2, 3, padding=1))


def kept(model: nn.Module) -> dict[str, dict[str, object]]:
    """The numbers that the modules of a model keep."""
    kinds = (int, tuple, list)
    return {
        path: {name: value for name, value in vars(module).items() if type(value) in kinds}
        for path, module in model.named_modules()
    }


def exact(model: nn.Module) -> WidthSpace:
    """Build the space of a model, hold it against its slim models, and return it."""
    before = kept(model)
    space = WidthSpace(model, example_input=PICTURE).double()
    assert kept(model) == before
    contracts.exact(space, torch.randn(PICTURE, dtype=torch.float64))
    space.activate(dict(space.full_widths))
    assert kept(model) == before
    return space


@pytest.mark.parametrize(
    ('layer', 'widths'),
    [
        (Scale(8), {'0': 8}),
        (Halves(8), {'0': 4, '1.left': 8}),
        (Scales(8), {'0': 4, '1.conv': 4}),
        (Mixed(8), {'0': 5, '0:2': 3}),
        (Gated(8), {'0': 8, '1.wide': 5, '1.wide:2': 3, '1.out': 8}),
        (Context(8), {'0': 8, '1.qkv': 10, '1.out': 8}),
        (Last(Linear(8, 8)), {'0': 8, '1.layer': 8}),
        (Last(nn.Sequential(Linear(8, 6), nn.ReLU(), Linear(6, 8))), {'0': 8, '1.layer.0': 6, '1.layer.2': 8}),
        (Reduced(8), {'0': 4}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else '',
)
def test_numbers_follow(layer, widths, caplog):
    with caplog.at_level(logging.WARNING, 'nni_cafenet'):
        space = exact(around(layer))
    assert not caplog.records
    assert dict(space.full_widths) == widths


def test_an_element_follows_and_the_others_stay(tmp_path):
    space = exact(around(Scale(8)))
    assert space.graph.attributes == (Attribute('1', 'shape', '1.gain', 0, 1, (0,)),)
    slim = space.save_slim(tmp_path, {'0': 3})
    assert slim[1].shape == (3, 1, 1)
    assert load_slim(around(Scale(8)), tmp_path)[1].shape == (3, 1, 1)


def test_a_list_stays_a_list(tmp_path):
    space = WidthSpace(around(Mixed(8)), example_input=PICTURE)
    slim = space.save_slim(tmp_path, {'0': 4, '0:2': 1})
    loaded = load_slim(around(Mixed(8)), tmp_path)
    assert slim[1].splits == loaded[1].splits == [4, 1]
    x = torch.randn(PICTURE)
    torch.testing.assert_close(slim(x), loaded(x))


def test_what_is_cut_can_follow_by_a_number_of_all():
    space = WidthSpace(around(Halves(8)), example_input=PICTURE)
    # Nothing inside has 8 inputs: dim is what is cut, the outputs of layer 0.
    assert space.graph.attributes == (Attribute('1', 'dim', '0.weight', 0, 1, (), (0, 8)),)


def test_equal_by_chance():
    class Chance(Scale):
        def __init__(self):
            super().__init__(8)
            self.num_classes, self.training_steps, self.sizes, self.kernel = 8, 4, [8, 8], 8

        def forward(self, x):
            kernel = torch.ones(self.kernel, dtype=x.dtype)[:1]
            return super().forward(x) * kernel

    space = exact(around(Chance()))
    assert dict(space.full_widths) == {'0': 8}
    slim = space.slim({'0': 3})[1]
    assert slim.shape == (3, 1, 1)
    assert (slim.num_classes, slim.training_steps, slim.sizes, slim.kernel) == (8, 4, [8, 8], 8)


def test_numbers_are_left_alone_where_nothing_fails():
    class Named(nn.Conv2d):
        def __init__(self):
            super().__init__(8, 8, 1)
            self.num_classes = 8

    space = exact(around(Named()))
    assert dict(space.full_widths) == {'0': 8, '1': 8}
    assert space.graph.attributes == ()


def test_heads_of_as_many_channels_as_there_are():
    class Square(nn.Module):
        """3 heads of 3: either number could be the width of a head."""

        def __init__(self):
            super().__init__()
            self.heads = self.inner = 3
            self.before, self.after = nn.Conv2d(8, 9, 1), nn.Conv2d(9, 8, 1)

        def forward(self, x):
            heads = self.before(x).reshape(x.shape[0], self.heads, self.inner, 4, 4)
            return self.after((heads * heads.sum(1, keepdim=True)).flatten(1, 2))

    space = exact(around(Square()))
    assert dict(space.full_widths) == {'0': 8, '1.before': 3, '1.after': 8}
    assert space.slim({'0': 8, '1.before': 2, '1.after': 8})[1].heads == 3


def test_numbers_of_the_code_keep_the_width(caplog):
    class Coded(nn.Module):
        def __init__(self):
            super().__init__()
            self.width = 8
            self.gain = nn.Parameter(torch.rand(8))

        def forward(self, x):
            return x * self.gain.view(8, 1, 1)

    space = exact(nn.Sequential(around(Coded()), nn.ReLU(), nn.Conv2d(2, 4, 1), nn.Conv2d(4, 2, 1)))
    assert dict(space.full_widths) == {'0.2': 2, '2': 4}
    assert 'The channels of 0.0 keep their width' in caplog.text
    assert space.graph.attributes == ()


def test_one_repair_beside_a_width_that_cannot_change():
    class Coded(nn.Module):
        def forward(self, x):
            return x.view(-1, 8, 4, 4)

    model = nn.Sequential(around(Coded()), nn.Conv2d(2, 8, 1), Scale(8), nn.Conv2d(8, 2, 1))
    space = exact(model)
    assert dict(space.full_widths) == {'0.2': 2, '1': 8}
    assert {attribute.module for attribute in space.graph.attributes} == {'2'}


def test_attention_of_as_many_heads_as_a_head_has_channels():
    class Attention(nn.Module):
        """3 heads of 3; with the heads following instead of their width it would run, and mix up the heads."""

        def __init__(self):
            super().__init__()
            self.heads = self.inner = 3
            self.qkv, self.out = nn.Linear(8, 27), nn.Linear(9, 8)

        def forward(self, x):
            y = self.qkv(x.flatten(2).transpose(1, 2)).view(x.shape[0], -1, 3, self.heads, self.inner)
            y = nn.functional.scaled_dot_product_attention(*y.permute(2, 0, 3, 1, 4).unbind(0)).transpose(1, 2)
            return self.out(y.flatten(2)).transpose(1, 2).reshape(x.shape[0], -1, 4, 4)

    space = exact(around(Attention()))
    assert dict(space.full_widths) == {'0': 8, '1.qkv': 3, '1.out': 8}
    slim = space.slim({'0': 8, '1.qkv': 2, '1.out': 8})[1]
    assert (slim.heads, slim.inner) == (3, 2)


class KeysAndValues(nn.Module):
    """Attention whose heads cut one layer into queries, keys and values of two sizes, kept as numbers (LeViT)."""

    def __init__(self, width=16, heads=2, key=4, value=8):
        super().__init__()
        self.heads, self.key, self.value, self.all_values = heads, key, value, heads * value
        self.qkv = nn.Linear(width, heads * (2 * key + value))
        self.out = nn.Linear(heads * value, width)

    def forward(this, x):  # noqa: N805 - it need not be called self
        rows, columns, _ = x.shape
        q, k, v = this.qkv(x).view(rows, columns, this.heads, -1).split([this.key, this.key, this.value], dim=3)
        weights = (q.transpose(1, 2) @ k.permute(0, 2, 3, 1)).softmax(-1)
        return x + this.out((weights @ v.transpose(1, 2)).transpose(1, 2).reshape(rows, columns, this.all_values))


def test_parts_of_two_sizes_follow_one_cut():
    model = nn.Sequential(nn.Linear(6, 16), *(KeysAndValues() for _ in range(3)), nn.Linear(16, 2)).double()
    space = WidthSpace(model, example_input=torch.randn(2, 5, 6, dtype=torch.float64))
    assert space.full_widths == {'0': 16} | {
        f'{i}.{name}': width for i in (1, 2, 3) for name, width in (('qkv', 4), ('qkv:2', 8))
    }
    sets = {label: torch.arange(1, width, 2) for label, width in space.full_widths.items()}
    widths = {label: len(chosen) for label, chosen in sets.items()}
    space.activate(widths, sets)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(space(x), space.slim(widths, sets)(x), rtol=1e-9, atol=1e-9)


class OwnNorm(nn.Module):
    """Normalization of torch, without a weight, of a size that the module keeps."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.mix = nn.Linear(dim, dim)

    def forward(self, x):
        return self.mix(nn.functional.layer_norm(x, (self.dim,)))


@pytest.mark.parametrize(
    'norm',
    [
        lambda dim: nn.LayerNorm(dim, elementwise_affine=False),
        lambda dim: nn.RMSNorm(dim, elementwise_affine=False),
        OwnNorm,
    ],
    ids=['LayerNorm', 'RMSNorm', 'layer_norm'],
)
def test_the_size_of_a_normalization_without_a_weight(norm):
    """As in diffusion transformers, whose streams are all normalized so."""

    class Block(nn.Module):
        def __init__(self, dim: int) -> None:
            super().__init__()
            self.norm, self.wide, self.narrow = norm(dim), nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)

        def forward(self, x):
            return x + self.narrow(self.wide(self.norm(x)).relu())

    model = nn.Sequential(nn.Linear(5, 12), Block(12), Block(12), norm(12), nn.Linear(12, 3)).double()
    x = torch.randn(2, 5, dtype=torch.float64)
    space = contracts.exact(WidthSpace(model, example_input=x), x)
    assert {'0': 12, '1.wide': 24, '2.wide': 24}.items() <= space.full_widths.items()
    slim = space.slim({**space.full_widths, '0': 7})
    assert slim(x).shape == (2, 3)
    assert getattr(slim[1].norm, 'normalized_shape', (7,)) == (7,)
