"""Windows, diagonals, triangles and turns of maps leave channels free."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
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
        lambda net, y: F.pad(y, [1, 1]).unfold(3, 3, 1).mean(-1),
        lambda net, y: y.tril() + y.rot90(1, (2, 3)),
        lambda net, y: y * y.diagonal(dim1=2, dim2=3)[..., None] + torch.diag_embed(y[..., 0]),
        lambda net, y: F.pad(y.diff(dim=3), [0, 1]) + torch.trapezoid(y, dim=3)[..., None],
        lambda net, y: y * F.one_hot(y.argmax(3), 6).to(y.dtype),
    ],
)
def test_channels_pass(widths_of, function):
    assert widths_of(function) == {'a': 4, 'b': 5}


def test_windows_of_channels_keep_them(widths_of):
    assert widths_of(lambda net, y: y.unfold(1, 2, 2).sum(-1), 2) == {'b': 5}
