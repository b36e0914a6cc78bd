"""Operators that torch marks as pointwise, their other names, and reductions."""

from __future__ import annotations

import pytest
import torch


@pytest.mark.parametrize(
    'function',
    [
        lambda net, y: torch.logaddexp(y.cosh(), y) - torch.hypot(y, y).erfc(),  # marked as pointwise
        lambda net, y: y.multiply(y).subtract(1).absolute().clip(0, 2).true_divide(3),  # other names
        lambda net, y: y * torch.greater(y, 0) + (10 * y).floor_divide(3) * y.isfinite(),
        lambda net, y: y * y.nanmean(3, keepdim=True) + (y > 0).any(2, keepdim=True) - y.prod(3, keepdim=True),
        lambda net, y: y - torch.aminmax(y, dim=3, keepdim=True)[0],
        lambda net, y: y.cummax(2)[0] + y.logcumsumexp(3),
        lambda net, y: y - y.flatten(2).median(-1)[0][..., None, None] + y.kthvalue(2, 3, keepdim=True)[0],
        lambda net, y: y - y.quantile(0.3, 3, keepdim=True),
    ],
)
def test_channels_pass(widths_of, function):
    assert widths_of(function) == {'a': 4, 'b': 5}


@pytest.mark.parametrize(
    'function', [lambda net, y: y - y.median(), lambda net, y: y - y.kthvalue(2, 1, keepdim=True)[0]]
)
def test_a_rank_among_channels_keeps_them(widths_of, function):
    assert widths_of(function) == {'b': 5}
