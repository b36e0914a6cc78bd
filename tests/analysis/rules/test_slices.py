"""Positions taken by numbers: shares of a size follow it, constants keep what they count, numbers of modules follow."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nni_cafenet import WidthSpace

Conv = nn.Conv2d
CLIP = (4, 3, 4, 4)


def shifted_in_place(x, fold):
    """As in TSM: a share of the channels comes from the next picture, another from the one before."""
    frames = x.unflatten(0, (-1, 4))
    moved = torch.zeros_like(frames)
    moved[:, :-1, :fold] = frames[:, 1:, :fold]
    moved[:, 1:, fold : 2 * fold] = frames[:, :-1, fold : 2 * fold]
    moved[:, :, 2 * fold :] = frames[:, :, 2 * fold :]
    return moved.flatten(0, 1)


def shifted_and_joined(x, fold):
    frames = x.unflatten(0, (-1, 4))
    back, forth, still = frames[:, :, :fold], frames[:, :, fold : 2 * fold], frames[:, :, 2 * fold :]
    back = torch.cat([back[:, 1:], torch.zeros_like(back[:, :1])], 1)
    forth = torch.cat([torch.zeros_like(forth[:, :1]), forth[:, :-1]], 1)
    return torch.cat([back, forth, still], 2).flatten(0, 1)


class Partial(nn.Module):
    """As in FasterNet: a convolution of the first channels, whose number the module keeps."""

    def __init__(self, dim: int, how: str) -> None:
        super().__init__()
        self.how, self.part = how, dim // 4
        self.conv = Conv(self.part, self.part, 3, padding=1)

    def forward(self, x):
        if self.how == 'in place':
            x = x.clone()
            x[:, : self.part] = self.conv(x[:, : self.part])
            return x
        if self.how == 'narrow':
            return torch.cat([self.conv(x.narrow(1, 0, self.part)), x.narrow(1, self.part, x.shape[1] - self.part)], 1)
        part = x.shape[1] // 4
        moved, still = x.split([part, x.shape[1] - part], 1)
        return torch.cat([self.conv(moved), still], 1)


def same_as_slim(model: nn.Module, draw, example=CLIP) -> WidthSpace:
    """Build the space of a model and hold it against its slim models."""
    space = WidthSpace(model, example_input=example).double()
    x = torch.randn(example, dtype=torch.float64)
    for seed, kind in enumerate(('smallest', 'random', 'random')):
        widths, sets = draw(space, seed, kind)
        for training in (False, True):
            slim = space.train(training).slim(widths, sets)
            space.activate(widths, sets)
            with torch.no_grad():
                torch.testing.assert_close(space(x), slim(x), rtol=1e-9, atol=1e-9)
        assert space.params(widths) == sum(parameter.numel() for parameter in slim.parameters())
    return space


def fixed(space: WidthSpace) -> dict[str, tuple[int, str]]:
    return {r.label: (r.width, r.reason) for r in space.graph.fixed if r.reason != 'is an output of the model'}


@pytest.mark.parametrize('shift', [shifted_in_place, shifted_and_joined], ids=['in place', 'joined'])
def test_shares_of_a_size_follow_it(wired, draw, shift):
    def wiring(net, x):
        y = net.a(x)
        return net.b(shift(y, y.shape[1] // 8))

    space = same_as_slim(wired(wiring, a=Conv(3, 16, 1), b=Conv(16, 2, 1)), draw)
    assert dict(space.full_widths) == {'a': 2}  # of each of 8 shares
    assert not fixed(space)


def test_constants_keep_what_they_count(wired, draw):
    model = wired(lambda net, x: net.b(shifted_in_place(net.a(x), 2)), a=Conv(3, 16, 1), b=Conv(16, 2, 1))
    space = same_as_slim(model, draw)
    assert dict(space.full_widths) == {'a': 12}
    [(label, (held, reason))] = fixed(space).items()
    assert (label, held) == ('a', 4)
    assert reason.startswith('is cut at fixed positions by aten.slice')
    assert 'numbers that the module keeps, would follow' in reason


@pytest.mark.parametrize(
    ('taken', 'kept', 'held'),
    [
        (lambda y: y[:, 3:], 5, 3),
        (lambda y: y[:, :-3], 5, 3),
        (lambda y: y[:, 2:-3], 3, 5),
        (lambda y: y.narrow(1, 3, y.shape[1] - 3), 5, 3),
        (lambda y: y.split([3, y.shape[1] - 3], 1)[1], 5, 3),
        (lambda y: y.roll(3, 1), 8, 3),
        (lambda y: y.roll(-2, 1), 8, 2),
    ],
)
def test_constants_hold_one_end(wired, draw, taken, kept, held):
    model = wired(lambda net, x: net.b(taken(net.a(x))), a=Conv(3, 8, 1), b=Conv(kept, 2, 1))
    space = same_as_slim(model, draw)
    assert dict(space.full_widths) == {'a': 8 - held}
    assert fixed(space)['a'][0] == held


@pytest.mark.parametrize('steps', [2, 4])
def test_every_nth_channel_follows_with_its_neighbors(wired, draw, steps):
    model = wired(
        lambda net, x: net.b(torch.cat([net.a(x)[:, n::steps] for n in range(steps)], 1)),
        a=Conv(3, 8, 1),
        b=Conv(8, 2, 1),
    )
    space = same_as_slim(model, draw)
    assert dict(space.full_widths) == {'a': 8 // steps}
    [segment] = space.graph.layout_of('a.weight', 0)
    assert (segment.outer, segment.inner) == (1, steps)


def test_a_roll_by_a_share_follows(wired, draw):
    def rolled(net, x):
        y = net.a(x)
        return net.b(y.roll(y.shape[1] // 4, 1))

    space = same_as_slim(wired(rolled, a=Conv(3, 8, 1), b=Conv(8, 2, 1)), draw)
    assert dict(space.full_widths) == {'a': 2}
    assert not fixed(space)


@pytest.mark.parametrize('how', ['in place', 'narrow', 'share'])
def test_numbers_of_partial_convolutions_follow(how, draw):
    model = nn.Sequential(Conv(3, 16, 1), Partial(16, how), Conv(16, 2, 1))
    space = same_as_slim(model, draw)
    assert dict(space.full_widths) == ({'0': 4} if how == 'in place' else {'0': 4, '1.conv': 4})
    assert not fixed(space)
    assert space.slim(dict.fromkeys(space.labels, 1))[1].part == (4 if how == 'share' else 1)


def test_a_part_is_written_over(wired, draw):
    def written(net, x):
        return net.b(torch.slice_scatter(net.a(x), net.c(x), 1, 0, 3))

    space = same_as_slim(wired(written, a=Conv(3, 8, 1), b=Conv(8, 2, 1), c=Conv(3, 3, 1)), draw)
    assert dict(space.full_widths) == {'a': 5}


def test_shares_and_constants_of_one_model_are_told_apart(wired, draw):
    def both(net, x):
        y, z = net.a(x), net.c(x)
        return net.b(y[:, y.shape[1] // 2 :]) + net.d(z[:, 4:])

    model = wired(both, a=Conv(3, 8, 1), b=Conv(4, 2, 1), c=Conv(3, 8, 1), d=Conv(4, 2, 1))
    space = same_as_slim(model, draw)
    assert dict(space.full_widths) == {'a': 4, 'c': 4}
    assert {label: held for label, (held, _) in fixed(space).items()} == {'c': 4}


class Modulated(nn.Module):
    """As FocalNet of transformers: the sizes of the parts are those of the input, and a constant."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.made, self.mixed = nn.Linear(dim, 2 * dim + 3), nn.Linear(dim, dim)

    def forward(self, x):
        channels = x.shape[-1]
        query, context, gates = torch.split(self.made(x), (channels, channels, 3), -1)
        return query * self.mixed(context * gates[..., :1] + gates[..., 1:2] + gates[..., 2:])


def test_parts_as_wide_as_what_the_layer_reads_follow_it(draw):
    model = nn.Sequential(nn.Linear(5, 12), Modulated(12), nn.Linear(12, 2))
    space = same_as_slim(model, draw, (2, 7, 5))
    assert dict(space.full_widths) == {'0': 12}
    assert {label: held for label, (held, _) in fixed(space).items()} == {'1.made': 3}


class Ratio(nn.Module):
    """As LeViT of transformers: values are a multiple of the keys, which the code computes from their number."""

    def __init__(self, dim: int, keys: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.keys, self.heads, self.ratio = keys, heads, ratio
        self.made, self.proj = nn.Linear(dim, (2 + ratio) * keys * heads), nn.Linear(ratio * keys * heads, dim)

    def forward(self, x):
        heads = self.made(x).view(len(x), -1, self.heads, (2 + self.ratio) * self.keys)
        query, key, value = heads.split([self.keys, self.keys, self.ratio * self.keys], 3)
        weights = (query.transpose(1, 2) @ key.permute(0, 2, 3, 1)).softmax(-1)
        return self.proj((weights @ value.transpose(1, 2)).transpose(1, 2).flatten(2))


def test_parts_that_are_multiples_of_a_number_follow_it(draw):
    model = nn.Sequential(nn.Linear(5, 12), Ratio(12, 4, 3, 2), nn.Linear(12, 2))
    space = same_as_slim(model, draw, (2, 7, 5))
    assert dict(space.full_widths) == {'0': 12, '1.made': 4, '1.proj': 12}
    assert not fixed(space)
