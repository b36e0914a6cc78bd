"""The contracts (docs/contracts.md) on random small networks.

A network is a list of blocks, each with two small numbers that choose its sizes, so that what hypothesis finds is short
and can be built again by hand: ``build(2, 6, [('conv', 1, 0), ('shuffle', 1, 0)], 'pool')``.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, Phase, event, given, settings, strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import WidthSpace
from nni_cafenet.slicing.selection import Selection, put

CONV = (None, nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (None, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
BATCH_NORM = (None, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
INSTANCE_NORM = (None, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
SIZES = (None, (8,), (4, 4), (2, 2, 2))
WIDTHS = (4, 6, 8, 12)
ACTIVATIONS = (nn.ReLU, nn.GELU, nn.Sigmoid, nn.Hardswish)


class Part(nn.Module):
    """Named layers and the function that wires them."""

    def __init__(self, wiring, **layers) -> None:
        super().__init__()
        self.wiring = wiring
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.wiring(self, x)


def pick(choices, number: int):
    return choices[number % len(choices)]


def divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def spatial(rank: int) -> tuple[int, ...]:
    return tuple(range(2, 2 + rank))


def vector(c: int, rank: int) -> nn.Parameter:
    return nn.Parameter(torch.rand(c, *(1,) * rank) + 0.5)


def heads_of(c: int, number: int) -> int:
    return pick([heads for heads in divisors(c) if heads < c] or [1], number)


# --- blocks: (rank, channels, a, b) -> (module, channels that come out) ------------------------------------------------


def conv(rank, c, a, b):
    out = pick(WIDTHS, a)
    groups = pick(divisors(math.gcd(c, out)), b)
    kernel = 1 + 2 * (b % 2)
    return CONV[rank](c, out, kernel, padding=kernel // 2, groups=groups, bias=a % 2 == 0), out


def depthwise(rank, c, a, b):
    return CONV[rank](c, c * (1 + a % 2), 3, padding=1, groups=c), c * (1 + a % 2)


def transposed(rank, c, a, b):
    out = pick(WIDTHS, a)
    return TRANSPOSED[rank](c, out, 3, padding=1, groups=pick(divisors(math.gcd(c, out)), b)), out


def norm(rank, c, a, b):
    kinds = (
        BATCH_NORM[rank](c),
        nn.GroupNorm(pick(divisors(c), b), c),
        INSTANCE_NORM[rank](c, affine=True),
        Part(lambda net, x: net.norm(x.movedim(1, -1)).movedim(-1, 1), norm=nn.LayerNorm(c)),
        BATCH_NORM[rank](c, affine=False),
        nn.PReLU(c),
    )
    return pick(kinds, a), c


def activation(rank, c, a, b):
    kinds = (nn.Dropout(0.3), nn.Softmax(1), Part(lambda net, x: F.normalize(x, dim=1)))
    return (pick(ACTIVATIONS, b)() if a % 4 else pick(kinds, b)), c


def residual(rank, c, a, b):
    hidden = pick(WIDTHS, a)
    return Part(
        lambda net, x: x + net.second(F.relu(net.first(x))),
        first=CONV[rank](c, hidden, 1),
        second=CONV[rank](hidden, c, 3, padding=1, groups=pick(divisors(math.gcd(hidden, c)), b)),
    ), c


def concatenation(rank, c, a, b):
    left, right = pick(WIDTHS, a), pick(WIDTHS, b)
    return Part(
        lambda net, x: torch.cat([net.left(x), net.right(x)], 1),
        left=CONV[rank](c, left, 1),
        right=CONV[rank](c, right, 1),
    ), left + right


def dense(rank, c, a, b):
    growth = pick(WIDTHS, a)
    return Part(lambda net, x: torch.cat([x, net.layer(x)], 1), layer=CONV[rank](c, growth, 1)), c + growth


def shuffle(rank, c, a, b):
    groups = pick(divisors(c), a)
    if b % 2 and rank == 2:
        return nn.ChannelShuffle(groups), c

    def mix(net, x):
        return x.unflatten(1, (groups, x.shape[1] // groups)).transpose(1, 2).flatten(1, 2)

    return Part(mix), c


def halves(rank, c, a, b):
    """ShuffleNet's unit: one half passes by, the other through a layer."""
    if c % 2:
        return nn.Identity(), c
    cuts = (
        lambda x: x.chunk(2, 1),
        lambda x: x.split(x.shape[1] // 2, 1),
        lambda x: (x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]),
        lambda x: x.tensor_split(2, 1),
    )
    cut = pick(cuts, a)

    def wiring(net, x):
        left, right = cut(x)
        return torch.cat([left, net.layer(right)], 1)

    return Part(wiring, layer=CONV[rank](c // 2, pick((c // 2, 4, 6), b), 1)), c // 2 + pick((c // 2, 4, 6), b)


def squeeze_and_excite(rank, c, a, b):
    hidden = pick((2, 3, 4), a)
    if b % 2:

        def gate(net, x):
            scale = torch.sigmoid(net.up(F.relu(net.down(x.mean(spatial(rank), keepdim=True)))))
            return x * scale

        return Part(gate, down=CONV[rank](c, hidden, 1), up=CONV[rank](hidden, c, 1)), c

    def flat(net, x):
        scale = torch.sigmoid(net.up(F.relu(net.down(x.mean(spatial(rank))))))
        return x * scale.reshape(*scale.shape, *(1,) * rank)

    return Part(flat, down=nn.Linear(c, hidden), up=nn.Linear(hidden, c)), c


def spatial_gate(rank, c, a, b):
    """Weights of the positions from the mean and the maximum over channels, as CBAM has them."""

    def gate(net, x):
        both = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(net.layer(both))

    return Part(gate, layer=CONV[rank](2, 1, 3, padding=1)), c


def twice(rank, c, a, b):
    return Part(lambda net, x: net.layer(F.relu(net.layer(x))), layer=CONV[rank](c, c, 1)), c


def scale(rank, c, a, b):
    return Part(lambda net, x: x * net.gamma + net.beta, gamma=vector(c, rank), beta=vector(c, rank)), c


def gated(rank, c, a, b):
    out = pick(WIDTHS, a)
    if b % 2:
        return nn.Sequential(CONV[rank](c, 2 * out, 1), nn.GLU(1)), out
    return Part(
        lambda net, x: net.value(x) * torch.sigmoid(net.gate(x)),
        value=CONV[rank](c, out, 1),
        gate=CONV[rank](c, out, 1),
    ), out


def perceptron(rank, c, a, b):
    """A hidden layer with the channels last."""
    hidden = pick(WIDTHS, a)

    def wiring(net, x):
        return x + net.down(F.gelu(net.up(x.movedim(1, -1)))).movedim(-1, 1)

    return Part(wiring, up=nn.Linear(c, hidden), down=nn.Linear(hidden, c)), c


def mixer(rank, c, a, b):
    """A hidden layer over the positions, as MLP-Mixer has it."""
    positions = math.prod(SIZES[rank])

    def wiring(net, x):
        return x + net.down(F.gelu(net.up(x.flatten(2)))).reshape(x.shape)

    return Part(wiring, up=nn.Linear(positions, pick(WIDTHS, a)), down=nn.Linear(pick(WIDTHS, a), positions)), c


def attention(rank, c, a, b):
    """Attention over the positions: hand-written in several ways, or torch's module."""
    heads = heads_of(c, b)
    kind = a % 5

    def tokens(x):
        return x.flatten(2).transpose(1, 2)

    def back(y, x):
        return x + y.transpose(1, 2).reshape(x.shape)

    if kind == 0:

        def module(net, x):
            t = net.norm(tokens(x))
            return back(net.attend(t, t, t, need_weights=False)[0], x)

        return Part(module, norm=nn.LayerNorm(c), attend=nn.MultiheadAttention(c, heads, batch_first=True)), c
    if kind == 1:

        def by_hand(net, x):
            t = tokens(x)
            n, rows, width = t.shape
            q, k, v = net.qkv(t).reshape(n, rows, 3, heads, -1).permute(2, 0, 3, 1, 4)
            scores = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
            return back(net.out((scores @ v).transpose(1, 2).reshape(n, rows, -1)), x)

        return Part(by_hand, qkv=nn.Linear(c, 3 * c, bias=b % 2 == 0), out=nn.Linear(c, c)), c
    if kind == 2:
        width = pick((2, 3, 4), b)

        def own_width(net, x):
            t = tokens(x)
            q, k, v = (layer(t).unflatten(-1, (heads, -1)).transpose(1, 2) for layer in (net.q, net.k, net.v))
            y = F.scaled_dot_product_attention(q, k, v)
            return back(net.out(y.transpose(1, 2).flatten(2)), x)

        q, k, v = (nn.Linear(c, heads * width) for _ in range(3))
        return Part(own_width, q=q, k=k, v=v, out=nn.Linear(heads * width, c)), c
    if kind == 3:

        def einsum(net, x):
            t = tokens(x)
            scores = torch.einsum('bid,bjd->bij', net.q(t), net.k(t)).softmax(-1)
            return back(net.out(torch.einsum('bij,bjd->bid', scores, net.v(t))), x)

        q, k, v = nn.Linear(c, pick(WIDTHS, b)), nn.Linear(c, pick(WIDTHS, b)), nn.Linear(c, 6)
        return Part(einsum, q=q, k=k, v=v, out=nn.Linear(6, c)), c

    def channels(net, x):
        """Attention between channels, as XCiT and Restormer have it."""
        q, k, v = net.qkv(x).flatten(2).chunk(3, 1)
        scores = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(1, 2)).softmax(-1)
        return x + net.out((scores @ v).reshape(x.shape[0], -1, *x.shape[2:]))

    return Part(channels, qkv=CONV[rank](c, 3 * c, 1), out=CONV[rank](c, c, 1)), c


def pooled(rank, c, a, b):
    kernel = 1 if rank == 3 else 3
    kinds = (
        (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[rank - 1](kernel, 1, kernel // 2),
        (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[rank - 1](kernel, 1, kernel // 2),
        Part(lambda net, x: x.flip(-1).roll(1, 2)),
        Part(lambda net, x: F.interpolate(x, scale_factor=2.0)[(..., *(slice(None, None, 2),) * rank)]),
        Part(lambda net, x: F.pad(x, (1, 1))[..., 1:-1]),
    )
    return pick(kinds, a), c


def shifted(rank, c, a, b):
    """What moves channels by numbers of the code."""
    kinds = (
        lambda net, x: x.roll(1, 1),
        lambda net, x: x.flip(1),
        lambda net, x: x[:, : max(1, c - 2)],
        lambda net, x: F.pad(x, (*(0, 0) * rank, 1, 1)),
        lambda net, x: torch.cat([x, x], 1),
        lambda net, x: x.repeat_interleave(2, 1),
        lambda net, x: x.repeat(1, 2, *(1,) * rank),
        lambda net, x: torch.cat([x[:, :2].flip(1), x[:, 2:]], 1),
    )
    out = (c, c, max(1, c - 2), c + 2, 2 * c, 2 * c, 2 * c, c)
    return Part(pick(kinds, a)), pick(out, a)


def pixels(rank, c, a, b):
    if rank != 2:
        return nn.Identity(), c
    if a % 2:
        return nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2)), c
    return nn.Sequential(CONV[rank](c, 16, 1), nn.PixelShuffle(2), nn.AvgPool2d(2)), 4


def selective(rank, c, a, b):
    """Branches weighted by a softmax over them, as selective kernels have them."""
    out = pick(WIDTHS, a)

    def wiring(net, x):
        both = torch.stack([net.left(x), net.right(x)], 1)
        weights = net.choose(both.sum(1).mean(spatial(rank))).unflatten(1, (2, -1)).softmax(1)
        return (both * weights.reshape(*weights.shape, *(1,) * rank)).sum(1)

    return Part(
        wiring, left=CONV[rank](c, out, 1), right=CONV[rank](c, out, 3, padding=1), choose=nn.Linear(out, 2 * out)
    ), out


def standardized(rank, c, a, b):
    """A convolution whose weight is standardized in every forward."""
    out = pick(WIDTHS, a)
    function = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]

    def wiring(net, x):
        weight = net.layer.weight
        axes = tuple(range(1, weight.dim()))
        weight = (weight - weight.mean(axes, keepdim=True)) / (weight.std(axes, correction=0, keepdim=True) + 1e-3)
        return function(x, weight, net.layer.bias)

    return Part(wiring, layer=CONV[rank](c, out, 1)), out


def siamese(rank, c, a, b):
    out = pick(WIDTHS, a)
    return Part(
        lambda net, x: net.read(torch.cat([net.layer(x), net.layer(x.flip(-1))], 1)),
        layer=CONV[rank](c, out, 1),
        read=CONV[rank](2 * out, out, 1, groups=pick(divisors(out), b)),
    ), out


def recurrent(rank, c, a, b):
    """A recurrent network over the positions."""
    return Part(
        lambda net, x: x + net.layer(x.flatten(2).transpose(1, 2))[0].transpose(1, 2).reshape(x.shape),
        layer=nn.GRU(c, c, batch_first=True),
    ), c


def windows(rank, c, a, b):
    """Pairs of neighboring positions, merged into the channels and taken apart again."""

    def wiring(net, x):
        t = x.flatten(2).transpose(1, 2)
        n, rows, width = t.shape
        t = net.out(F.gelu(net.merge(t.reshape(n, rows // 2, 2 * width))))
        return x + t.reshape(n, rows, -1).transpose(1, 2).reshape(x.shape)

    hidden = pick(WIDTHS, a)
    return Part(wiring, merge=nn.Linear(2 * c, hidden), out=nn.Linear(hidden, 2 * c)), c


def grouped_queries(rank, c, a, b):
    """Attention in which several heads of queries share a head of keys and values."""
    heads, width = (4, 2), pick((2, 3, 4), b)

    def wiring(net, x):
        t = x.flatten(2).transpose(1, 2)
        q = net.q(t).unflatten(-1, (heads[0], -1)).transpose(1, 2)
        k, v = (layer(t).unflatten(-1, (heads[1], -1)).transpose(1, 2) for layer in (net.k, net.v))
        if a % 3 == 0:
            y = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        else:
            k, v = (part.repeat_interleave(2, 1) for part in (k, v))
            if a % 3 == 1:
                y = F.scaled_dot_product_attention(q, k, v)
            else:
                y = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v
        return x + net.out(y.transpose(1, 2).flatten(2)).transpose(1, 2).reshape(x.shape)

    q, out = nn.Linear(c, heads[0] * width), nn.Linear(heads[0] * width, c)
    return Part(wiring, q=q, k=nn.Linear(c, heads[1] * width), v=nn.Linear(c, heads[1] * width), out=out), c


def tokens(rank, c, a, b):
    """A class token and an embedding of positions around an encoder layer of torch."""
    positions, heads = math.prod(SIZES[rank]), heads_of(c, b)

    def wiring(net, x):
        t = x.flatten(2).transpose(1, 2) + net.places
        t = torch.cat([net.token.expand(t.shape[0], -1, -1), t], 1)
        t = net.layer(t)
        return t[:, 1:].transpose(1, 2).reshape(x.shape) + t[:, 0].reshape(*t.shape[::2], *(1,) * rank)

    options = {'batch_first': True, 'norm_first': a % 2 == 0, 'dropout': 0.1 * (a % 3)}
    return Part(
        wiring,
        token=nn.Parameter(torch.rand(1, 1, c)),
        places=nn.Parameter(torch.rand(1, positions, c)),
        layer=nn.TransformerEncoderLayer(c, heads, pick(WIDTHS, a), **options),
    ), c


def crossed(rank, c, a, b):
    """A branch attends to another of other width."""
    other = pick(WIDTHS, a)

    def wiring(net, x):
        t, o = x.flatten(2).transpose(1, 2), net.other(x).flatten(2).transpose(1, 2)
        return x + net.attend(t, o, o)[0].transpose(1, 2).reshape(x.shape)

    attend = nn.MultiheadAttention(c, heads_of(c, b), kdim=other, vdim=other, batch_first=True)
    return Part(wiring, other=CONV[rank](c, other, 1), attend=attend), c


def tied(rank, c, a, b):
    """One weight in two layers, or a weight used in both directions."""
    hidden = pick(WIDTHS, a)
    if b % 2:
        left, right = CONV[rank](c, hidden, 1), CONV[rank](c, hidden, 1)
        right.weight = left.weight
        return Part(lambda net, x: F.relu(net.left(x)) + net.right(x.flip(-1)), left=left, right=right), hidden

    def wiring(net, x):
        y = F.relu(F.linear(x.movedim(1, -1), net.weight))
        return (y @ net.weight).movedim(-1, 1) + net.bias

    return Part(wiring, weight=nn.Parameter(torch.randn(hidden, c)), bias=vector(c, rank)), c


def compared(rank, c, a, b):
    """Two branches joined by what is neither a sum nor a product."""
    out = pick(WIDTHS, a)
    kinds = (
        lambda left, right: torch.maximum(left, right),
        lambda left, right: torch.where(left > 0, left, right),
        lambda left, right: torch.stack([left, right]).amax(0),
        lambda left, right: torch.stack([left, right], -1).mean(-1),
        lambda left, right: torch.lerp(left, right, 0.3),
        lambda left, right: left * F.cosine_similarity(left, right, dim=1)[:, None],
    )
    join = pick(kinds, b)
    return Part(
        lambda net, x: join(net.left(x), net.right(x)), left=CONV[rank](c, out, 1), right=CONV[rank](c, out, 1)
    ), out


def efficient_gate(rank, c, a, b):
    """A convolution along the channels, as ECA-Net has it."""

    def wiring(net, x):
        y = net.layer(x.mean(spatial(rank))[:, None]).sigmoid()
        return x * y.reshape(x.shape[0], -1, *(1,) * rank)

    return Part(wiring, layer=nn.Conv1d(1, 1, 3, padding=1)), c


def maxout(rank, c, a, b):
    kinds = (
        (lambda net, x: x.unflatten(1, (-1, 2)).amax(2), c // 2),
        (lambda net, x: x.unflatten(1, (2, -1)).amax(1), c // 2),
        (lambda net, x: torch.cat([x, -x], 1).relu(), 2 * c),
        (lambda net, x: torch.max(*x.chunk(2, 1)), c // 2),
        (lambda net, x: x[:, ::2] + x[:, 1::2], c // 2),
        (lambda net, x: torch.stack([x, -x], 2).flatten(1, 2), 2 * c),
    )
    two_pairs = c == 4  # see test_two_pairs_before_an_einsum
    return (nn.Identity(), c) if c % 2 or two_pairs else (Part(pick(kinds, a)[0]), pick(kinds, a)[1])


def ghost(rank, c, a, b):
    """Cheap maps beside primary ones, of which the first are kept."""
    out = pick(WIDTHS, a)
    primary = out // 2 + b % 2

    def wiring(net, x):
        y = net.primary(x)
        return torch.cat([y, net.cheap(y)], 1)[:, :out]

    first = CONV[rank](c, primary, 1)
    return Part(wiring, primary=first, cheap=CONV[rank](primary, primary, 3, padding=1, groups=primary)), out


def hierarchical(rank, c, a, b):
    """Res2Net: every part of the channels gets what the one before it made."""
    parts = 2 if c % 3 else 3
    if c % parts:
        return nn.Identity(), c

    def wiring(net, x):
        y, made = 0, []
        for part, layer in zip(x.chunk(parts, 1) if a % 2 else x.split(c // parts, 1), net.layers):
            y = layer(part + y)
            made.append(y)
        return torch.cat(made, 1) + (x if b % 2 else 0)

    layers = nn.ModuleList([CONV[rank](c // parts, c // parts, 1) for _ in range(parts)])
    return Part(wiring, layers=layers), c


def mixed_experts(rank, c, a, b):
    """Convolutions whose weight is a weighted sum of several."""
    out = pick(WIDTHS, a)
    function = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]

    def wiring(net, x):
        weights = net.choose(x.mean((0, *spatial(rank)))).softmax(-1)
        return function(x, (net.experts * weights.reshape(-1, 1, 1, *(1,) * rank)).sum(0))

    experts = nn.Parameter(torch.randn(3, out, c, *(1,) * rank))
    return Part(wiring, experts=experts, choose=nn.Linear(c, 3)), out


def whole_norm(rank, c, a, b):
    """Normalization by hand and in other forms, and a weight that is normalized."""

    def over_everything(net, x):
        return net.norm(x)

    def root_mean_square(net, x):
        return net.rms(x.movedim(1, -1)).movedim(-1, 1)

    def by_hand(net, x):
        centered = x - x.mean(1, keepdim=True)
        return centered / (x.var(1, correction=0, keepdim=True) + 1).sqrt() * net.g

    def by_length(net, x):
        return x / (1 + x.norm(dim=1, keepdim=True)) * net.g

    def by_response(net, x):
        return x * (net.g * x.square().sum(spatial(rank), keepdim=True)).softmax(1)

    if a % 6 == 5:
        return nn.utils.parametrizations.weight_norm(CONV[rank](c, c, 1)), c
    wiring = (over_everything, root_mean_square, by_hand, by_length, by_response)[a % 6]
    layers = {'norm': nn.LayerNorm((c, *SIZES[rank]))} if a % 6 == 0 else {'rms': nn.RMSNorm(c)} if a % 6 == 1 else {}
    return Part(wiring, **layers or {'g': vector(c, rank)}), c


def positions(rank, c, a, b):
    """Coordinates as channels, cut pictures, and neighboring positions as channels."""
    out = pick(WIDTHS, b)

    def coordinates(net, x):
        ramp = torch.linspace(0, 1, x.shape[-1], dtype=x.dtype).expand(x.shape[0], 1, *x.shape[2:])
        return net.layer(torch.cat([x, ramp], 1))

    def focus(net, x):
        y = net.layer(torch.cat([x[..., ::2], x[..., 1::2]], 1))
        return torch.cat([y, y], -1)

    def unfolded(net, x):
        return net.layer(F.unfold(x, 3, padding=1).unflatten(2, x.shape[2:]))

    def depth(net, x):
        n, channels, *sizes = x.shape
        y = x.reshape(n, channels, *sizes[:-1], sizes[-1] // 2, 2).movedim(-1, 1 + a % 2).flatten(1, 2)
        return torch.cat([net.layer(y)] * 2, -1)

    kind = (a + 1) // 2 % 4 if rank == 2 else (0, 1, 3)[(a + 1) // 2 % 3]
    into = (c + 1, 2 * c, 9 * c, 2 * c)[kind]
    return Part((coordinates, focus, unfolded, depth)[kind], layer=CONV[rank](into, out, 1)), out


def einsums(rank, c, a, b):
    out = pick(WIDTHS, b)
    letters = 'xyz'[:rank]
    kinds = (
        (f'bc{letters},oc->bo{letters}', out, c),
        (f'oc,bc{letters}->bo{letters}', out, c),
        ('bc...,oc->bo...', out, c),
        (f'bc{letters},co->bo{letters}', c, out),
    )
    equation, rows, columns = pick(kinds, a)
    first = equation.startswith('oc')

    def wiring(net, x):
        return torch.einsum(equation, *((net.weight, x) if first else (x, net.weight)))

    return Part(wiring, weight=nn.Parameter(torch.randn(rows, columns))), out


def uneven(rank, c, a, b):
    """Parts of different sizes, by numbers of the code or by sizes of layers."""
    left, right = pick(WIDTHS, a), pick(WIDTHS, b)

    def sizes(net):
        return [net.first.weight.shape[0], net.second.weight.shape[0]]

    def wiring(net, x):
        both = torch.cat([net.first(x), net.second(x)], 1)
        cut = sizes(net) if a % 2 else [left, right]
        one, two = both.split(cut, 1)
        return torch.cat([two.relu(), one], 1)

    return Part(wiring, first=CONV[rank](c, left, 1), second=CONV[rank](c, right, 1)), left + right


class Trained(nn.Module):
    """Does something in training mode only."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x) if self.training else x


def trained(rank, c, a, b):
    kinds = (
        lambda x: x.flip(1),
        lambda x: x * (torch.rand(len(x), *(1,) * (rank + 1)) > 0.3),
        lambda x: x[:, torch.randperm(x.shape[1])],
        lambda x: 2 * x,
        lambda x: x * x.new_empty((len(x), *(1,) * (rank + 1))).bernoulli_(0.8),
    )
    return Trained(pick(kinds, a)), c


BLOCKS = {
    block.__name__: block
    for block in (
        *(conv, depthwise, transposed, norm, activation, residual, concatenation, dense, shuffle, halves, scale),
        *(squeeze_and_excite, spatial_gate, twice, gated, perceptron, mixer, attention, pooled, shifted, pixels),
        *(selective, standardized, siamese, recurrent, windows, grouped_queries, tokens, crossed, tied, compared),
        *(efficient_gate, maxout, ghost, hierarchical, mixed_experts, whole_norm, positions, einsums, uneven, trained),
    )
}
HEADS = ('pool', 'flatten', 'convolution', 'several')


class Network(nn.Module):
    def __init__(self, rank: int, channels: int, plan, head: str) -> None:
        super().__init__()
        self.stem = CONV[rank](3, channels, 3, padding=1)
        body = []
        for name, a, b in plan:
            block, channels = BLOCKS[name](rank, channels, a, b)
            body.append(block)
        self.body = nn.Sequential(*body)
        self.head = head
        positions = math.prod(SIZES[rank])
        self.fc = nn.Linear(channels * (positions if head == 'flatten' else 1), 5)
        if head in ('convolution', 'several'):
            self.fc = CONV[rank](channels, 5, 1)
        if head == 'several':
            self.other = nn.Linear(channels, 2)

    def forward(self, x):
        x = self.body(self.stem(x))
        if self.head == 'several':
            return {'map': self.fc(x), 'score': [self.other(x.flatten(2).mean(2))]}
        if self.head == 'convolution':
            return self.fc(x)
        return self.fc(x.flatten(1) if self.head == 'flatten' else x.flatten(2).mean(2))


def build(rank: int, channels: int, plan, head: str) -> nn.Module:
    """Build a network whose vectors have values of their own: ones and zeros would hide a wrong slice."""
    torch.manual_seed(0)
    model = Network(rank, channels, plan, head)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.dim() == 1:
                tensor.copy_(torch.rand_like(tensor) + (0.5 if name.endswith(('weight', 'running_var')) else -0.5))
    return model


networks = st.tuples(
    st.sampled_from((2, 2, 1, 3)),
    st.sampled_from(WIDTHS),
    st.lists(st.tuples(st.sampled_from(sorted(BLOCKS)), st.integers(0, 7), st.integers(0, 5)), min_size=1, max_size=5),
    st.sampled_from(HEADS),
)


def tensors(output) -> list[torch.Tensor]:
    return torch.utils._pytree.tree_leaves(output)


def run(model: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    torch.manual_seed(0)  # the same dropout
    return tensors(model(x))


def distance(left, right) -> float:
    assert [a.shape for a in left] == [b.shape for b in right]
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in zip(left, right))


def in_another_order(space: WidthSpace, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """Return the model's tensors with the channels of every group in another order, the same everywhere.

    The model must not notice, or a channel stands elsewhere than the graph says. Channels along which a convolution runs
    keep their order: it notices that by right.
    """
    groups = space.graph.groups
    orders = [np.arange(group.width) if group.ordered else rng.permutation(group.width) for group in groups]
    places = []
    for layout in space.graph.layouts:
        place = np.arange(len(layout))
        for index, order in enumerate(orders):
            own = [np.flatnonzero((layout.groups == index) & (layout.channels == c)) for c in range(len(order))]
            for to, source in enumerate(order.tolist()):
                place[own[to]] = own[source]
        places.append(torch.from_numpy(place))
    moved = {**dict(space.full_model.named_parameters()), **dict(space.full_model.named_buffers())}
    for name, indices in space.graph.dims.items():
        for axis, index in enumerate(indices):
            if index is not None:
                moved[name] = moved[name].index_select(axis, places[index])
    return moved


def check(network, same_in_any_order) -> WidthSpace | None:
    """Hold the space of a network against the contracts; None where no channel of it can change."""
    rank = network[0]
    try:
        batch = 1 + len(network[2]) % 3  # costs are those of one sample
        space = WidthSpace(build(*network), example_input=(batch, 3, *SIZES[rank])).double().eval()
    except ValueError as error:
        if 'no channel group that can change' not in str(error):
            raise
        return None
    x = torch.randn(2, 3, *SIZES[rank], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    rng = np.random.default_rng(0)
    full = space.full_widths
    for _ in range(3):
        with torch.no_grad():
            moved = torch.func.functional_call(space.full_model, in_another_order(space, rng), (x,))
            assert distance(tensors(moved), tensors(space.full_model(x))) < 1e-9, 'channels stand elsewhere'
    least = {group.label: group.least_width for group in space.graph.groups}
    some = [{label: int(rng.integers(least[label], width + 1)) for label, width in full.items()} for _ in range(2)]
    for widths in (space.smallest_widths, full, least, *some):
        sets = {label: np.sort(rng.choice(full[label], width, replace=False)) for label, width in widths.items()}
        for training in (False, True):
            slim = space.train(training).slim(widths, sets)
            space.activate(widths, sets)
            before = {name: buffer.clone() for name, buffer in space.named_buffers()}
            with torch.no_grad():
                assert distance(run(space, x), run(slim, x)) < 1e-9, (widths, training)
            positions = Selection(space.graph, sets).positions
            for name, buffer in slim.named_buffers():
                expected = before[name].clone()
                put(expected, positions.get(name, (None,) * expected.dim()), buffer)
                torch.testing.assert_close(dict(space.named_buffers())[name], expected, rtol=1e-9, atol=1e-9)
        slim.eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run(slim, space.example_input.with_batch(1).args[0].double())
        assert space.macs(widths) * 2 == counter.get_total_flops(), widths
        assert space.params(widths) == sum(parameter.numel() for parameter in slim.parameters()), widths
        space.activate(full)
    same_in_any_order(space, x)
    return space


@pytest.fixture(autouse=True)
def counted_attention():
    """Fused kernels of ``nn.MultiheadAttention`` hide products from torch's counter."""
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


UNHURRIED = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large)


@given(networks)
@settings(max_examples=20, derandomize=True, deadline=None, database=None, suppress_health_check=UNHURRIED)
def test_random_networks(same_in_any_order, network):
    event('free' if check(network, same_in_any_order) else 'nothing can change')


@pytest.mark.sweep
@pytest.mark.timeout(0)
@given(networks)
@settings(max_examples=1500, deadline=None, suppress_health_check=UNHURRIED, phases=(Phase.generate, Phase.shrink))
def test_many_random_networks(same_in_any_order, network):
    event('free' if check(network, same_in_any_order) else 'nothing can change')


@pytest.mark.sweep
@pytest.mark.timeout(0)
@pytest.mark.parametrize('rank', [1, 2, 3])
@pytest.mark.parametrize('name', sorted(BLOCKS))
def test_every_block(same_in_any_order, name, rank):
    """Every block in every shape between two convolutions."""
    for a in range(8):
        for b in range(4):
            network = (rank, 12, [(name, a, b), ('conv', 1, 0)], 'pool')
            assert check(network, same_in_any_order) is not None, (a, b)
