from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nni_cafenet.analysis.rules import registry
from nni_cafenet.graph.cost import CostModel, Polynomial

# 7 + 2 s0 + 3 s0 s1 + s1 s1
POLYNOMIAL = Polynomial(np.array([7, 2, 3, 1]), np.array([[-1, -1], [0, -1], [0, 1], [1, 1]]))


def test_a_polynomial_of_many_sizes_at_once():
    sizes = np.array([[1, 1], [2, 5], [0, 3]])
    # 7+2+3+1, 7+4+30+25, 7+0+0+9
    assert POLYNOMIAL(sizes).tolist() == [13, 66, 16]


def test_the_slope_is_the_derivative():
    # d/ds0 = 2 + 3 s1 = 17, d/ds1 = 3 s0 + 2 s1 = 16 at (2, 5); a channel of the second group stands twice in s1.
    weights = np.array([[1, 0], [0, 2]])
    assert POLYNOMIAL.gradient(np.array([2, 5]), weights).tolist() == [17, 32]


def test_sizes_are_fixed_channels_and_channels_of_groups():
    cost = CostModel(np.array([[1, 0], [49, 2]]), np.array([0, 3]), POLYNOMIAL, POLYNOMIAL)
    assert cost.sizes(np.array([[4, 6], [1, 1]])).tolist() == [[4, 49 * 4 + 12 + 3], [1, 54]]
    # one row: s = (1, 54): 7 + 2 + 162 + 2916
    assert cost.macs_of(np.array([[1, 1]])).tolist() == [3087]
    # d/dw0 = (2 + 3*54) * 1 + (3 + 108) * 49, d/dw1 = 111 * 2
    assert cost.macs_per_channel(np.array([1, 1])).tolist() == [164 + 5439, 222]


def test_costs_beyond_32_bits_are_exact():
    big = CostModel(np.array([[1]]), np.array([0]), Polynomial(np.array([3]), np.array([[0, 0]])), POLYNOMIAL)
    assert big.macs_of(np.array([[10**9 + 1]])).tolist() == [3 * (10**9 + 1) ** 2]


@pytest.mark.parametrize(
    ('name', 'options', 'macs', 'params'),
    [
        ('resnet18', {}, 1_814_073_344, 11_689_512),
        ('resnet50', {}, 4_089_184_256, 25_557_032),
        ('mobilenet_v2', {}, 300_774_272, 3_504_872),
        ('mobilenet_v2', {'width_mult': 1.5}, 672_832_704, None),
        ('efficientnet_b0', {}, 385_810_000, 5_288_548),
    ],
)
def test_published_numbers(full_size, name, options, macs, params):
    graph = full_size(name, **options)
    full = graph.full_widths[None]
    found = int(graph.cost.macs_of(full)[0])
    assert found == macs if name != 'efficientnet_b0' else round(found, -4) == macs  # published with five digits
    assert params is None or int(graph.cost.params_of(full)[0]) == params


def test_vgg19_for_cifar(analyzed):
    from torchvision.models.vgg import cfgs, make_layers

    model = nn.Sequential(make_layers(cfgs['E']), nn.Flatten(), nn.Linear(512, 10))
    graph = analyzed(model, (1, 3, 32, 32))
    assert len(graph.groups) == 16
    assert int(graph.cost.macs_of(graph.full_widths[None])[0]) == 398_136_320


def test_many_widths_at_once_are_the_widths_one_by_one(full_size):
    graph = full_size('mobilenet_v2')
    rows = np.random.default_rng(0).integers(1, graph.full_widths + 1, size=(200, len(graph.groups)))
    macs, params = graph.cost.macs_of(rows), graph.cost.params_of(rows)
    assert macs.dtype == params.dtype == np.int64
    assert macs.tolist() == [int(graph.cost.macs_of(row[None])[0]) for row in rows]
    assert params.tolist() == [int(graph.cost.params_of(row[None])[0]) for row in rows]


def test_a_channel_costs_what_the_full_model_loses_without_it(full_size):
    # Exact where a group stands once in every product; a channel of a residual group stands in none twice either.
    graph = full_size('resnet50')
    full = graph.full_widths
    for index, group in enumerate(graph.groups):
        narrower = full.copy()
        narrower[index] -= 1
        assert int(graph.cost.macs_of(full[None])[0] - graph.cost.macs_of(narrower[None])[0]) == group.macs_per_channel


def test_matrix_products_without_a_rule_are_measured(verified, wired, monkeypatch):
    monkeypatch.delitem(registry._RULES, 'aten.conv_transpose2d')
    # A transposed convolution without a rule: its channels are fixed, and its MACs are those that torch counts.
    model = wired(
        lambda net, x: net.c(net.up(net.b(net.a(x)))),
        a=nn.Conv2d(3, 4, 1),
        b=nn.Conv2d(4, 5, 1),
        up=nn.ConvTranspose2d(5, 6, 2, stride=2),
        c=nn.Conv2d(6, 2, 1),
    )
    graph = verified(model, (2, 3, 4, 4))
    assert graph.labels == ('a',)
    # 16 positions: a 3*4, b 4*5, up 5*6*4; c at 64 positions: 6*2.
    assert graph.cost.macs_of(np.array([[4], [1]])).tolist() == [
        16 * (12 + 20 + 120) + 64 * 12,
        16 * (3 + 5 + 120) + 64 * 12,
    ]
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 4, 4)).shape == (1, 2, 8, 8)
