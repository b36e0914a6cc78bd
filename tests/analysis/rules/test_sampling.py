"""Warping and unpooling: channels pass, places do not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nni_cafenet import WidthSpace

Conv = nn.Conv2d
PICTURE = (1, 3, 6, 6)


def test_a_warped_map_keeps_its_channels(space):
    def run(net, x):
        places = net.flow(x).permute(0, 2, 3, 1).tanh()
        return net.b(F.grid_sample(net.a(x), places, align_corners=False))

    made = space(run, a=Conv(3, 4, 1), flow=Conv(3, 2, 1), b=Conv(4, 2, 1))
    assert made.full_widths == {'a': 4}
    assert 'holds coordinates or places of a map in aten.grid_sampler' in str(made.graph.fixed)


def test_a_spatial_transformer(space):
    def run(net, x):
        y = net.a(x)
        theta = net.theta(y.mean((2, 3)).relu()).view(-1, 2, 3)
        return net.b(F.grid_sample(y, F.affine_grid(theta, y.shape, align_corners=True), align_corners=True))

    made = space(run, a=Conv(3, 4, 1), theta=nn.Linear(4, 6), b=Conv(4, 2, 1))
    assert made.full_widths == {'a': 4}


def test_a_volume_is_warped(space):
    def run(net, x):
        places = net.flow(x).permute(0, 2, 3, 4, 1).tanh()
        return net.b(F.grid_sample(net.a(x), places, align_corners=True))

    layers = {'a': nn.Conv3d(2, 4, 1), 'flow': nn.Conv3d(2, 3, 1), 'b': nn.Conv3d(4, 2, 1)}
    assert space(run, (1, 2, 3, 3, 3), **layers).full_widths == {'a': 4}


POOLINGS = {
    'max': (lambda y: F.max_pool2d(y, 2, return_indices=True), lambda y, at: F.max_unpool2d(y, at, 2)),
    'adaptive': (
        lambda y: F.adaptive_max_pool2d(y, 3, return_indices=True),
        lambda y, at: F.max_unpool2d(y, at, 2, output_size=(6, 6)),
    ),
    'one dimension': (
        lambda y: F.max_pool1d(y.flatten(2), 2, return_indices=True),
        lambda y, at: F.max_unpool1d(y, at, 2).unflatten(2, (6, 6)),
    ),
    'three dimensions': (
        lambda y: F.max_pool3d(y[:, :, None], (1, 2, 2), return_indices=True),
        lambda y, at: F.max_unpool3d(y, at, (1, 2, 2))[:, :, 0],
    ),
}


@pytest.mark.parametrize('name', POOLINGS)
def test_values_return_to_where_a_pooling_took_them(space, name):
    pool, unpool = POOLINGS[name]

    def run(net, x):
        y, places = pool(net.a(x))
        return net.b(unpool(y.sigmoid(), places))

    assert space(run, a=Conv(3, 4, 1), b=Conv(4, 2, 1)).full_widths == {'a': 4}


def test_regions_with_random_borders_that_the_model_holds(space):
    def run(net, x):
        y, places = F.fractional_max_pool2d(
            net.a(x), 2, 3, return_indices=True, _random_samples=net.samples.to(x.dtype)
        )
        return net.b(F.max_unpool2d(y, places, 2, output_size=(6, 6)))

    made = space(run, a=Conv(3, 4, 1), b=Conv(4, 2, 1), samples=torch.rand(1, 4, 2))
    assert made.full_widths == {'a': 4}


def test_regions_that_are_drawn_at_every_call_keep_the_channels(wired):
    layers = {'a': Conv(3, 4, 1), 'b': Conv(4, 5, 1), 'c': Conv(5, 2, 1)}
    model = wired(lambda net, x: net.c(net.b(F.fractional_max_pool2d(net.a(x), 2, 3))), **layers)
    made = WidthSpace(model, example_input=PICTURE)
    assert 'a' not in made.labels
    assert 'random numbers that the model does not hold' in str(made.graph.fixed)


@pytest.mark.parametrize(
    'write',
    [
        lambda y, at: (
            torch.zeros_like(y).flatten(2).scatter(2, at.flatten(2), F.max_pool2d(y, 2).flatten(2)).view_as(y)
        ),
        lambda y, at: torch.zeros_like(y).scatter_add(3, torch.zeros(y.shape, dtype=torch.long), y),
        lambda y, at: (
            y.index_fill(3, torch.tensor([1]), 0.0) + torch.bucketize(y, torch.linspace(-1, 1, 5, dtype=y.dtype))
        ),
    ],
)
def test_values_are_written_to_places(space, write):
    def run(net, x):
        y = net.a(x)
        return net.b(write(y, F.max_pool2d(y, 2, return_indices=True)[1]))

    assert space(run, a=Conv(3, 4, 1), b=Conv(4, 2, 1)).full_widths == {'a': 4}
