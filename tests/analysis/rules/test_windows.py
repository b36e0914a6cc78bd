"""Convolutions along channels and weights standardized over their inputs: supernet = slim at any channel sets."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nni_cafenet import WidthSpace, inspect_space
from nni_cafenet.channel_importance import permute_channels

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def exact(space: WidthSpace, seed: int = 0) -> None:
    """Check the contract in both modes, with gradients and buffers, at random channel sets; and the MACs."""
    generator = torch.Generator().manual_seed(seed)
    for draw in range(3):
        widths, sets = {}, {}
        for group in space.graph.groups:
            least = group.least_width
            widths[group.label] = int(torch.randint(least, group.width + 1, (), generator=generator)) if draw else least
            order = torch.randperm(group.width, generator=generator)[: widths[group.label]]
            sets[group.label] = order.sort().values
        for training in (False, True):
            slim = space.train(training).slim(widths, sets)
            space.activate(widths, sets)
            with torch.no_grad():
                torch.testing.assert_close(space(X), slim(X), rtol=1e-9, atol=1e-9)
            assert bool(slim(X).isfinite().all())
    full = space.macs(space.full_widths)
    assert 1 - space.macs({group.label: group.least_width for group in space.graph.groups}) / full > 0.89


def with_attention(attention: nn.Module) -> nn.Module:
    layers = [nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), attention, nn.Conv2d(12, 16, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)).double()


class Eca(nn.Module):
    """Efficient channel attention, in the forms in which it is written."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        hidden, kernel = (4, 1) if form == 'two layers' else (1, 3)
        padding = (
            0 if form in ('circular', 'two layers') else 'same' if form == 'same' else 2 if form == 'dilated' else 1
        )
        self.conv = nn.Conv1d(1, hidden, kernel, padding=padding, dilation=2 if form == 'dilated' else 1)
        self.conv2 = nn.Conv1d(4, 1, 5, padding=2) if form == 'two layers' else nn.Identity()
        if form == '2d':
            self.conv = nn.Conv2d(1, 1, (3, 1), padding=(1, 0))

    def forward(self, x):
        y = x.mean((2, 3))
        if self.form == '2d':
            y = self.conv(y[:, None, :, None])
        else:
            y = y.view(x.shape[0], 1, -1)
            y = F.pad(y, (1, 1), mode='circular') if self.form == 'circular' else y
            y = self.conv2(self.conv(y).relu())
        return x * y.view(x.shape[0], -1, 1, 1).sigmoid().expand_as(x)


@pytest.mark.parametrize('form', ['plain', 'dilated', 'circular', 'two layers', '2d'])
def test_a_convolution_along_channels_keeps_its_kernel(form: str) -> None:
    space = WidthSpace(with_attention(Eca(form)), example_input=X)
    assert {'0', '4'} <= set(space.labels)
    assert next(group for group in space.graph.groups if group.label == '0').ordered
    exact(space)


def test_a_convolution_over_channels_and_pixels() -> None:
    class Volume(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(1, 1, 3, padding=1)

        def forward(self, x):
            return self.conv(x.unsqueeze(1)).squeeze(1)

    exact(WidthSpace(with_attention(Volume()), example_input=X))


def test_strides_along_channels_fix_them() -> None:
    class Strided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3, padding=1, stride=2)

        def forward(self, x):
            y = self.conv(x.mean((2, 3))[:, None])[:, 0]
            return x * F.pad(y, (0, 6))[..., None, None]

    space = WidthSpace(with_attention(Strided()), example_input=X)
    (record,) = [record for record in space.graph.fixed if record.label == '0']
    assert 'along its channels' in record.reason


def test_the_report_says_what_exact_means_there() -> None:
    space = WidthSpace(with_attention(Eca('plain')), example_input=X)
    text = str(inspect_space(space))
    assert 'neighbors' in text
    assert inspect_space(space).groups[0].ordered


def test_ordered_channels_keep_their_order() -> None:
    space = WidthSpace(with_attention(Eca('plain')), example_input=X)
    before = space.full_model.eval()(X)
    done = permute_channels(space, {label: list(range(width))[::-1] for label, width in space.full_widths.items()})
    assert set(done.kept) == {'0'}
    torch.testing.assert_close(space.full_model(X), before)


def test_zeros_padded_around_channels_are_fixed_positions() -> None:
    class Shortcut(nn.Module):
        """The shortcut without parameters of ResNets for CIFAR."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(12, 16, 3, padding=1)

        def forward(self, x):
            return self.conv(x) + F.pad(x, (0, 0, 0, 0, 2, 2))

    model = with_attention(Shortcut())
    model[4] = nn.Conv2d(16, 16, 3).double()
    space = WidthSpace(model, example_input=X)
    assert space.full_widths == {'0': 12, '4': 16}
    exact(space)


class Standardized(nn.Conv2d):
    """Weights standardized over their inputs, in the ways in which it is written."""

    how = 'batch_norm'

    def forward(self, x):
        weight = self.weight
        if self.how == 'batch_norm':
            rows = weight.reshape(1, self.out_channels, -1)
            weight = F.batch_norm(rows, None, None, training=True, momentum=0.0, eps=1e-6).reshape_as(weight)
        elif self.how == 'var_mean':
            variance, mean = torch.var_mean(weight, dim=[1, 2, 3], keepdim=True, unbiased=False)
            weight = (weight - mean) / torch.sqrt(variance + 1e-10)
        elif self.how == 'std':
            weight = weight - weight.mean(1, keepdim=True).mean(2, keepdim=True).mean(3, keepdim=True)
            weight = weight / (weight.view(weight.size(0), -1).std(dim=1).view(-1, 1, 1, 1) + 1e-5)
        elif self.how == 'layer_norm':
            weight = F.layer_norm(weight, weight.shape[1:])
        else:
            weight = F.instance_norm(weight.flatten(1)[None])[0].view_as(weight)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


@pytest.mark.parametrize(
    ('how', 'kernel'),
    [('batch_norm', 1), ('batch_norm', 3), ('var_mean', 3), ('std', 1), ('layer_norm', 3), ('instance_norm', 1)],
)
def test_weights_standardized_over_their_inputs(how: str, kernel: int) -> None:
    model = nn.Sequential(
        Standardized(3, 12, 3), nn.ReLU(), Standardized(12, 16, kernel), nn.ReLU(), nn.Flatten(1), nn.LazyLinear(3)
    )
    for layer in model:
        layer.how = how
    model.double()(X)
    space = WidthSpace(model, example_input=X)
    assert space.full_widths == {'0': 12, '2': 16}
    spreads = how != 'layer_norm'
    assert space.graph.groups[0].least_width == (2 if kernel == 1 and spreads else 1)
    assert min(space.choices['0']) >= space.graph.groups[0].least_width
    exact(space)
