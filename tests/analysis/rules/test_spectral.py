"""Fourier transforms and complex numbers: what is transformed keeps its size, all else passes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nni_cafenet import WidthSpace, importance

Conv = nn.Conv2d
PICTURE = (1, 3, 6, 6)


def test_a_global_filter(space):
    def run(net, x):
        y = torch.fft.rfft2(net.a(x).permute(0, 2, 3, 1), dim=(1, 2), norm='ortho')
        y = torch.fft.irfft2(y * torch.view_as_complex(net.filter), s=(6, 6), dim=(1, 2), norm='ortho')
        return net.b(y.permute(0, 3, 1, 2))

    made = space(run, a=Conv(3, 4, 1), filter=nn.Parameter(torch.randn(6, 4, 4, 2)), b=Conv(4, 2, 1))
    assert made.full_widths == {'a': 4}
    assert made.slim({'a': 3}).filter.shape == (6, 4, 3, 2)


def test_a_convolution_of_frequencies(space):
    def run(net, x):
        y = net.a(x)
        n, _, rows, columns = y.shape
        y = torch.fft.rfftn(y, dim=(-2, -1))
        y = torch.stack((y.real, y.imag), -1).permute(0, 1, 4, 2, 3).reshape(n, -1, rows, columns // 2 + 1)
        y = net.c(y).relu().view(n, -1, 2, rows, columns // 2 + 1).permute(0, 1, 3, 4, 2)
        return net.b(torch.fft.irfftn(torch.complex(y[..., 0], y[..., 1]), s=(rows, columns), dim=(-2, -1)))

    made = space(run, a=Conv(3, 4, 1), c=Conv(8, 10, 1), b=Conv(5, 2, 1))
    assert made.full_widths == {'a': 4, 'c': 5}


@pytest.mark.parametrize(
    ('transform', 'left'),
    [
        (lambda y: torch.fft.fft(y, dim=1).real, {'b': 5}),
        (lambda y: torch.fft.fftn(y).abs(), {'b': 5}),
        (lambda y: torch.fft.fftshift(y), {'b': 5}),
        (lambda y: torch.fft.fftshift(torch.fft.fft2(y), (2, 3)).angle(), {'a': 4, 'b': 5}),
        (lambda y: torch.stft(y.flatten(0, 2), 4, return_complex=True).abs()[:, None, :, :6], {'b': 5}),
    ],
    ids=['channels', 'everything', 'shift', 'map', 'signals'],
)
def test_what_is_transformed_keeps_its_size(space, transform, left):
    def run(net, x):
        y = transform(net.a(x))
        return net.c(net.b(y))

    channels = 1 if 'stft' in transform.__code__.co_names else 4
    made = space(run, a=Conv(3, 4, 1), b=Conv(channels, 5, 1), c=Conv(5, 2, 1))
    assert made.full_widths == left


class Operator(nn.Module):
    """A Fourier neural operator: low frequencies times complex weights, written into a tensor of zeros."""

    def __init__(self):
        super().__init__()
        self.out_channels, self.modes = 5, 2
        self.a, self.b = Conv(3, 4, 1), Conv(5, 2, 1)
        self.weight = nn.Parameter(torch.randn(4, 5, 2, 2, dtype=torch.cfloat))

    def forward(self, x):
        x = torch.fft.rfft2(self.a(x))
        low = torch.einsum('bixy,ioxy->boxy', x[:, :, : self.modes, : self.modes], self.weight)
        out = torch.zeros(x.shape[0], self.out_channels, 6, 4, dtype=torch.cfloat)
        out[:, :, : self.modes, : self.modes] = low
        return self.b(torch.fft.irfft2(out, s=(6, 6)))


def test_complex_weights_make_and_read_channels(draw):
    space = WidthSpace(Operator(), example_input=PICTURE)
    assert space.full_widths == {'a': 4, 'weight': 5}
    widths, sets = draw(space, 1)
    space.activate(widths, sets)
    slim, x = space.slim(widths, sets), torch.randn(PICTURE)
    assert slim.weight.shape[:2] == (slim.a.out_channels, slim.out_channels)
    torch.testing.assert_close(space(x), slim(x), rtol=0, atol=0)
    assert importance(space, 'l1')['weight'].gt(0).all()


def test_a_network_of_complex_numbers(wired, caplog):
    layers = {'a': nn.Linear(3, 4, dtype=torch.cfloat), 'b': nn.Linear(4, 2, dtype=torch.cfloat)}
    model = wired(
        lambda net, x: net.b(net.a(x) * net.gate), **layers, gate=nn.Parameter(torch.zeros(4, dtype=torch.cfloat))
    )
    space = WidthSpace(model, example_input=torch.randn(2, 3, dtype=torch.cfloat))
    assert space.full_widths == {'a': 4}
    assert not [record for record in caplog.records if record.name.startswith('nni_cafenet')]
