"""Operators of detectors: pooling of regions, deformable convolution, tensors that are filled part by part, orders."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from nni_cafenet import WidthSpace

Conv = nn.Conv2d
PICTURE = (1, 3, 6, 6)


@pytest.fixture
def space(wired, caplog):
    """``space(wiring, a=...)``: the space of a tiny network, exact at a random channel set, without a warning."""

    def make(wiring, **layers):
        torch.manual_seed(0)
        made = WidthSpace(wired(wiring, **layers), example_input=PICTURE).double()
        assert not [record for record in caplog.records if record.name.startswith('nni_cafenet')]
        sets = {label: torch.arange(1, width) for label, width in made.full_widths.items()}
        widths = {label: width - 1 for label, width in made.full_widths.items()}
        made.activate(widths, sets)
        x = torch.randn(PICTURE, dtype=torch.float64)
        torch.testing.assert_close(made(x), made.slim(widths, sets)(x), rtol=0, atol=0)
        return made

    return make


def reasons(space) -> dict[str, str]:
    return {record.label: record.reason for record in space.graph.fixed}


@pytest.mark.parametrize('pool', [torchvision.ops.roi_align, torchvision.ops.roi_pool])
def test_regions_of_a_map_have_its_channels(space, pool):
    def run(net, x):
        regions = torch.tensor([[0, 0, 0, 4, 4], [0, 1, 1, 5, 5]], dtype=x.dtype)
        return net.b(pool(net.a(x), regions, 2))

    assert space(run, a=Conv(3, 4, 1), b=Conv(4, 2, 1)).full_widths == {'a': 4}


def test_a_deformable_convolution_reads_and_makes_channels_like_any_other(space):
    def run(net, x):
        offsets = net.offsets(x)
        return net.b(torchvision.ops.deform_conv2d(net.a(x), offsets, net.w.weight, net.w.bias))

    made = space(run, a=Conv(3, 4, 1), offsets=Conv(3, 2, 1), w=Conv(4, 5, 1), b=Conv(5, 2, 1))
    assert made.full_widths == {'a': 4, 'w': 5}
    assert 'offsets' in reasons(made)
    assert made.macs(made.full_widths) == 36 * (3 * 4 + 3 * 2 + 5 * 2)  # no counter sees its own


def test_a_tensor_that_the_model_fills_has_the_channels_that_are_put_into_it(space):
    def run(net, x):
        y = net.a(x)
        filled = torch.zeros(2, y.shape[1], 6, 6, dtype=y.dtype)
        filled[torch.tensor([1])] = y
        return net.b(filled)

    assert space(run, a=Conv(3, 4, 1), b=Conv(4, 2, 1)).full_widths == {'a': 4}


def test_a_tensor_of_zeros_that_is_joined(space):
    def run(net, x):
        y = net.a(x)
        return net.b(torch.cat([y, y.new_zeros(1, y.shape[1], 1, 6)], 2))

    assert space(run, a=Conv(3, 4, 1), b=Conv(4, 2, 1)).full_widths == {'a': 4}


@pytest.mark.parametrize(
    'order',
    [
        lambda y: y.cumsum(3),
        lambda y: y.sort(2)[0],
        lambda y: y.sort(2)[1].to(y.dtype),
        lambda y: y.argsort(2).to(y.dtype),
        lambda y: y.topk(3, 2)[0],
        lambda y: y.argmax(2, keepdim=True).to(y.dtype),
        lambda y: y.flatten(2).argmax(-1)[..., None, None].to(y.dtype),
    ],
)
def test_an_order_along_other_dimensions_leaves_channels_free(space, order):
    assert space(lambda net, x: net.b(order(net.a(x))), a=Conv(3, 4, 1), b=Conv(4, 2, 1)).full_widths == {'a': 4}


@pytest.mark.parametrize('order', [lambda y: y.cumsum(1), lambda y: y.sort(1)[0], lambda y: y.topk(4, 1)[0]])
def test_an_order_of_channels_keeps_them(space, order):
    made = space(lambda net, x: net.c(net.b(order(net.a(x)))), a=Conv(3, 4, 1), b=Conv(4, 5, 1), c=Conv(5, 2, 1))
    assert made.full_widths == {'b': 5}
    assert 'cannot change in aten.' in reasons(made)['a']


DEFORMABLE = {  # offset groups, weight groups: channels that can change of 8 inputs and 16 outputs
    (1, 1): (8, 16),
    (2, 1): (4, 16),
    (1, 2): (4, 8),
    (2, 2): (4, 8),
    (4, 2): (2, 8),
    (2, 8): (4, None),  # depthwise: outputs follow inputs
}


@pytest.mark.parametrize(('offset_groups', 'groups'), DEFORMABLE)
def test_groups_of_a_deformable_convolution(space, offset_groups, groups):
    def run(net, x):
        y = net.a(x)
        return net.b(net.w(y, net.offsets(y), net.mask(y).sigmoid()))

    layers = {
        'a': Conv(3, 8, 1),
        'offsets': Conv(8, 2 * offset_groups, 1),
        'mask': Conv(8, offset_groups, 1),
        'w': torchvision.ops.DeformConv2d(8, 16, 1, groups=groups),
    }
    made = space(run, **layers, b=Conv(16, 2, 1))
    first, second = DEFORMABLE[offset_groups, groups]
    assert made.full_widths == ({'a': first, 'w': second} if second else {'a': first})
    slim = made.slim(dict.fromkeys(made.labels, 2))
    assert slim.w.in_channels == slim.a.out_channels == slim.w.weight.shape[1] * slim.w.groups
    assert slim.w.out_channels == slim.w.weight.shape[0]
