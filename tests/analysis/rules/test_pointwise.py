"""Operators that torch marks as pointwise, their other names, and reductions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nni_cafenet import WidthSpace

Conv = nn.Conv2d
PICTURE = (1, 3, 6, 6)


@pytest.fixture
def widths_of(wired, draw, caplog):
    """``widths_of(function, channels)``: the widths of a network around a function, exact at a random channel set."""

    def make(function, channels=4, **layers):
        torch.manual_seed(0)
        made = WidthSpace(
            wired(
                lambda net, x: net.c(net.b(function(net, net.a(x)))),
                a=Conv(3, 4, 1),
                b=Conv(channels, 5, 1),
                c=Conv(5, 2, 1),
                **layers,
            ),
            example_input=PICTURE,
        ).double()
        assert not [record for record in caplog.records if record.name.startswith('nni_cafenet')]
        widths, sets = draw(made, 1)
        made.activate(widths, sets)
        x = torch.randn(PICTURE, dtype=torch.float64)
        torch.testing.assert_close(made(x), made.slim(widths, sets)(x), rtol=0, atol=1e-12)
        return dict(made.full_widths)

    return make


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
