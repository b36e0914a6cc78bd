"""Convolutions whose kernel is an activation: sizes of activations are numbers of the operator."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import WidthSpace

Conv = nn.Conv2d


@pytest.fixture
def space(wired, draw, caplog):
    """``space(wiring, shapes, a=...)``: a space that is exact, also in its costs, made without a warning."""

    def make(wiring, *shapes, **layers):
        torch.manual_seed(0)
        model = wired(wiring, **layers)
        made = WidthSpace(model, example_input=tuple(torch.randn(shape) for shape in shapes)).double()
        assert not [record for record in caplog.records if record.name.startswith('nni_cafenet')]
        widths, sets = draw(made, 1)
        made.activate(widths, sets)
        slim = made.slim(widths, sets)
        inputs = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
        torch.testing.assert_close(made(*inputs), slim(*inputs), rtol=0, atol=1e-12)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            slim.requires_grad_(False)(*(each[:1] for each in inputs))
        assert made.macs(widths) == counter.get_total_flops() // 2
        return made

    return make


@pytest.mark.parametrize('batch', [1, 2])
def test_correlation_channel_by_channel(space, batch):
    def run(net, x, z):
        x, z = net.a(net.backbone(x)), net.b(net.backbone(z))
        n, c = z.shape[:2]
        y = F.conv2d(x.reshape(1, n * c, *x.shape[2:]), z.reshape(n * c, 1, *z.shape[2:]), groups=n * c)
        return net.head(y.reshape(n, c, *y.shape[2:]))

    layers = {'backbone': Conv(3, 4, 1), 'a': Conv(4, 5, 1), 'b': Conv(4, 5, 1), 'head': Conv(5, 2, 1)}
    made = space(run, (batch, 3, 6, 6), (batch, 3, 3, 3), **layers)
    assert made.full_widths == {'backbone': 4, 'a': 5}
    assert made.graph.attributes == ()  # no layer owns the number of groups


@pytest.mark.parametrize('batch', [1, 3])
def test_correlation_over_all_channels(space, batch):
    def run(net, x, z):
        x, z = net.backbone(x), net.backbone(z)
        n = len(z)
        y = F.conv2d(x.reshape(1, -1, *x.shape[2:]), z, groups=n)
        return y.reshape(n, 1, *y.shape[2:])

    made = space(
        run, (batch, 3, 6, 6), (batch, 3, 3, 3), backbone=nn.Sequential(Conv(3, 4, 1), nn.ReLU(), Conv(4, 5, 1))
    )
    assert made.full_widths == {'backbone.0': 4, 'backbone.2': 5}


def test_kernels_mixed_of_experts(space):
    def run(net, x):
        x = net.a(x)
        n, c, rows, columns = x.shape
        kernel = torch.einsum('nk,koihw->noihw', net.route(x.mean((2, 3))).softmax(-1), net.experts)
        kernel = kernel.reshape(-1, c, 3, 3)
        y = F.conv2d(x.reshape(1, n * c, rows, columns), kernel, padding=1, groups=n)
        return net.b(y.reshape(n, -1, rows, columns))

    layers = {'a': Conv(3, 4, 1), 'route': nn.Linear(4, 3), 'b': Conv(5, 2, 1)}
    made = space(run, (2, 3, 6, 6), **layers, experts=nn.Parameter(torch.randn(3, 5, 4, 3, 3)))
    assert made.full_widths == {'a': 4, 'route': 3, 'experts': 5}


def test_a_filter_for_every_channel_computed_from_the_map(space):
    def run(net, x):
        x = net.a(x)
        n, c, rows, columns = x.shape
        kernel = net.kernel(F.adaptive_avg_pool2d(x, 3)).reshape(n * c, 1, 3, 3)
        y = F.conv2d(x.reshape(1, n * c, rows, columns), kernel, padding=1, groups=n * c)
        return net.b(y.reshape(n, c, rows, columns))

    made = space(run, (2, 3, 6, 6), a=Conv(3, 4, 1), kernel=Conv(4, 4, 1), b=Conv(4, 2, 1))
    assert made.full_widths == {'a': 4}


def test_a_transposed_filter_for_every_channel(space):
    def run(net, x):
        x = net.a(x)
        n, c, rows, columns = x.shape
        kernel = net.kernel(F.adaptive_avg_pool2d(x, 2)).reshape(n * c, 1, 2, 2)
        y = F.conv_transpose2d(x.reshape(1, n * c, rows, columns), kernel, stride=2, groups=n * c)
        return net.b(y.view(n, c, 2 * rows, 2 * columns))

    made = space(run, (2, 3, 4, 4), a=Conv(3, 4, 1), kernel=Conv(4, 4, 1), b=Conv(4, 2, 1))
    assert made.full_widths == {'a': 4}


@pytest.mark.parametrize(
    'kernel',
    [
        lambda net, c: net.own * 1.5,
        lambda net, c: net.shared.expand(c, 1, 3, 3),
        lambda net, c: net.shared.repeat(c, 1, 1, 1),
    ],
    ids=['one for each channel', 'expanded', 'repeated'],
)
def test_a_depthwise_filter_without_a_layer(space, kernel):
    def run(net, x):
        x = net.a(x)
        return net.b(F.conv2d(x, kernel(net, x.shape[1]).to(x.dtype), padding=1, groups=x.shape[1]))

    kernels = {'own': nn.Parameter(torch.randn(4, 1, 3, 3)), 'shared': torch.rand(1, 1, 3, 3)}
    made = space(run, (2, 3, 6, 6), a=Conv(3, 4, 1), b=Conv(4, 2, 1), **kernels)
    assert made.full_widths['a'] == 4


def test_a_constant_number_of_groups_keeps_the_channels(wired):
    def run(net, x):
        return net.c(net.b(F.conv2d(net.a(x), net.kernel, groups=4)))

    layers = {'a': Conv(3, 4, 1), 'b': Conv(4, 5, 1), 'c': Conv(5, 2, 1), 'kernel': torch.rand(4, 1, 1, 1)}
    space = WidthSpace(wired(run, **layers), example_input=(1, 3, 6, 6))
    assert space.full_widths == {'b': 5}
    assert 'at another width the model fails' in str(space.graph.fixed)


def test_bags_of_embeddings(wired):
    layers = {'bags': nn.EmbeddingBag(9, 5), 'out': nn.Linear(5, 2)}
    space = WidthSpace(wired(lambda net, ids: net.out(net.bags(ids)), **layers), example_input=torch.randint(9, (2, 4)))
    assert space.full_widths == {'bags': 5}
    assert space.slim({'bags': 3}).bags.embedding_dim == 3


class Involution(nn.Module):
    """Kernels for groups of channels at every place, applied to unfolded neighborhoods."""

    def __init__(self):
        super().__init__()
        self.channels, self.groups, self.share = 12, 4, 3
        self.a, self.reduce, self.span, self.b = Conv(3, 12, 1), Conv(12, 5, 1), Conv(5, 36, 1), Conv(12, 2, 1)

    def forward(self, x):
        x = self.a(x)
        kernel = self.span(self.reduce(x).relu())
        n, _, rows, columns = kernel.shape
        kernel = kernel.view(n, self.groups, 9, rows, columns).unsqueeze(2)
        near = F.unfold(x, 3, padding=1).view(n, self.groups, self.share, 9, rows, columns)
        return self.b((kernel * near).sum(3).view(n, self.channels, rows, columns))


def test_an_involution(space):
    made = space(lambda net, x: net.part(x), (2, 3, 4, 4), part=Involution())
    assert made.full_widths == {'part.a': 3, 'part.reduce': 5}
