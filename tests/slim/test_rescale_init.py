from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nni_cafenet import WidthSpace
from nni_cafenet.slim.rescale_init import rescale_initialization

LAWS = {
    'fan out': (lambda w: nn.init.kaiming_normal_(w, mode='fan_out', nonlinearity='relu'), lambda i, o: (2 / o) ** 0.5),
    'fan in': (lambda w: nn.init.kaiming_normal_(w, nonlinearity='relu'), lambda i, o: (2 / i) ** 0.5),
    'default': (lambda w: nn.init.kaiming_uniform_(w, a=math.sqrt(5)), lambda i, o: (1 / (3 * i)) ** 0.5),
    'lecun': (lambda w: nn.init.kaiming_normal_(w, nonlinearity='linear'), lambda i, o: (1 / i) ** 0.5),
    'xavier': (nn.init.xavier_uniform_, lambda i, o: (2 / (i + o)) ** 0.5),
    'constant': (lambda w: nn.init.normal_(w, std=0.3), lambda i, o: 0.3),
}


def pair(out_channels: int, in_channels: int, kernel: int = 3) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return nn.Conv2d(64, 96, 3), nn.Conv2d(in_channels, out_channels, kernel)


@pytest.mark.parametrize('law', LAWS)
@pytest.mark.parametrize(('out_channels', 'in_channels'), [(96, 16), (24, 64), (12, 32)])
def test_the_spread_is_that_of_the_smaller_fans(law, out_channels, in_channels):
    initialize, spread = LAWS[law]
    full, slim = pair(out_channels, in_channels)
    with torch.no_grad():
        initialize(full.weight)
        slim.weight.copy_(full.weight[:out_channels, :in_channels])
    rescale_initialization(full, slim)
    assert float(slim.weight.detach().std()) == pytest.approx(spread(in_channels * 9, out_channels * 9), rel=0.06)


def test_biases_of_the_default_law_are_scaled_with_their_weights():
    full, slim = pair(96, 16)
    with torch.no_grad():
        slim.weight.copy_(full.weight[:, :16])
        slim.bias.copy_(full.bias)
    rescale_initialization(full, slim)
    # A quarter of the inputs: twice the spread.
    torch.testing.assert_close(slim.weight, full.weight[:, :16] * 2)
    torch.testing.assert_close(slim.bias, full.bias * 2)


def test_weights_that_kept_their_shape_and_vectors_stay():
    full, slim = (
        nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)),
        nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(4)),
    )
    before = {name: parameter.clone() for name, parameter in slim.named_parameters()}
    rescale_initialization(full, slim)
    assert all(torch.equal(parameter, before[name]) for name, parameter in slim.named_parameters())


@pytest.mark.parametrize('fill', [nn.init.zeros_, nn.init.ones_])
def test_weights_without_spread_stay(fill):
    full, slim = pair(24, 16)
    fill(full.weight), fill(slim.weight)
    before = slim.weight.clone()
    rescale_initialization(full, slim)
    assert torch.equal(slim.weight, before)


def test_resnet18_from_scratch_is_initialized_as_a_small_resnet18(family):
    space = family('resnet18')
    widths = space.uniform_widths(0.5)
    torch.manual_seed(3)
    slim = space.slim(widths, weights=False)
    for name, module in slim.named_modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 4000:
            # torchvision: kaiming_normal_(mode='fan_out', nonlinearity='relu')
            law = math.sqrt(2 / (module.out_channels * module.weight[0, 0].numel()))
            assert float(module.weight.detach().std()) == pytest.approx(law, rel=0.06), name
    assert float(slim.fc.weight.detach().std()) == pytest.approx(1 / math.sqrt(3 * slim.fc.in_features), rel=0.06)
    assert not torch.equal(slim.conv1.weight, space.slim(widths).conv1.weight)


def test_scratch_weights_have_the_slim_shapes_and_leave_the_space_alone(family):
    space = family('resnet18')
    before = space.conv1.weight.clone()
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(space.slim(space.smallest_widths, weights=False))
    assert [tuple(p.shape) for p in made[0].parameters()] == [
        tuple(p.shape) for p in space.slim(space.smallest_widths).parameters()
    ]
    assert torch.equal(made[0].conv1.weight, made[1].conv1.weight)
    assert torch.equal(space.conv1.weight, before)


def test_a_live_model_is_reset_module_by_module(wired):
    layers = {'a': nn.Conv2d(3, 64, 3), 'n': nn.BatchNorm2d(64), 'b': nn.Conv2d(64, 32, 3)}
    model = wired(lambda net, x: net.b(net.n(net.a(x))), **layers)
    with torch.no_grad():
        model.b.weight.fill_(100)
    space = WidthSpace(model, example_input=(1, 3, 8, 8), verify=False)
    torch.manual_seed(0)
    first = space.slim({'a': 16}, weights=False)
    torch.manual_seed(0)
    again = space.slim({'a': 16}, weights=False)
    assert first.b.weight.shape == (32, 16, 3, 3)
    assert float(first.b.weight.detach().std()) == pytest.approx(1 / math.sqrt(3 * 16 * 9), rel=0.1)
    assert first.n.weight.tolist() == [1] * 16
    assert first.n.running_mean.tolist() == [0] * 16
    assert torch.equal(first.b.weight, again.b.weight)
    assert float(model.b.weight.detach().mean()) == 100  # the space keeps its own
