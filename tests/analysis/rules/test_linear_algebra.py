"""Distances, contractions and functions of matrices."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

Conv = nn.Conv2d


def rows(y):
    return y.flatten(2).transpose(1, 2)


@pytest.mark.parametrize(
    'function',
    [
        lambda net, y: y * F.cosine_similarity(y, y.flip(2), dim=1)[:, None],
        lambda net, y: y * F.pairwise_distance(y.movedim(1, -1), 2 * y.movedim(1, -1))[:, None],
        lambda net, y: (torch.cdist(rows(y), rows(y)[:, :9]).softmax(-1) @ rows(y)[:, :9]).transpose(1, 2).view_as(y),
        lambda net, y: F.pad(torch.linalg.cross(y[..., :3], y[..., 3:], dim=-1), [0, 3]),
        lambda net, y: torch.linalg.solve(y + 9 * torch.eye(6, dtype=y.dtype), y),
        lambda net, y: y / torch.linalg.matrix_norm(y, keepdim=True) * torch.linalg.svdvals(y)[..., :1, None],
    ],
)
def test_channels_pass(widths_of, function):
    assert widths_of(function) == {'a': 4, 'b': 5}


def test_a_weight_that_is_contracted(widths_of):
    def run(net, y):
        return torch.tensordot(y, net.weight, ([1], [0])).movedim(-1, 1)

    assert widths_of(run, 6, weight=nn.Parameter(torch.randn(4, 6))) == {'a': 4, 'weight': 6, 'b': 5}


def test_a_bilinear_layer(widths_of):
    def run(net, y):
        return net.layer(y.movedim(1, -1), net.other(y).movedim(1, -1)).movedim(-1, 1)

    layers = {'layer': nn.Bilinear(4, 3, 6), 'other': Conv(4, 3, 1)}
    assert widths_of(run, 6, **layers) == {'a': 4, 'other': 3, 'layer': 6, 'b': 5}


def test_a_matrix_of_channels_keeps_them(widths_of):
    def run(net, y):
        inverse = torch.linalg.inv(rows(y).transpose(1, 2) @ rows(y) + 9 * torch.eye(4, dtype=y.dtype))
        return (rows(y) @ inverse).transpose(1, 2).view_as(y)

    assert widths_of(run) == {'b': 5}
