from __future__ import annotations

import nni
import nni.nas.strategy
import pytest
import torch
from nni.nas.nn.pytorch import ModelSpace, MutableConv2d, MutableLinear
from nni.nas.oneshot.pytorch.strategy import is_supernet
from nni.nas.profiler.pytorch.flops import FlopsParamsProfiler, FlopsProfiler, NumParamsProfiler
from torch import nn

from nni_cafenet import WidthMutator
from nni_cafenet.testing import SmallResNet

PICTURE = torch.zeros(1, 1, 8, 8)


class Native(ModelSpace):
    def __init__(self):
        super().__init__()
        a = nni.choice('a', [8, 4])
        self.conv = MutableConv2d(1, a, 3)
        self.fc = MutableLinear(a, 3)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))


class Many(nn.Module):
    """Outputs in a dict, and an argument by name."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x, scale=1.0):
        return {'y': self.b(self.a(x)) * scale, 'n': 3}


@pytest.fixture(params=['of channel groups', 'of choices'])
def space(request):
    model = SmallResNet if request.param == 'of channel groups' else Native
    return WidthMutator().mutate(model, example_input=PICTURE)


def test_profilers_return_exact_costs(space):
    flops, params = FlopsProfiler(space, PICTURE), NumParamsProfiler(space, PICTURE)
    both = FlopsParamsProfiler(space, PICTURE)
    for widths in (space.smallest_widths, space.uniform_widths(0.5), space.full_widths):
        assert flops.profile(widths) == both.profile(widths).flops == space.macs(widths)
        assert params.profile(widths) == both.profile(widths).params == space.params(widths)


def test_the_active_widths_and_other_outputs_do_not_matter():
    space = WidthMutator(outputs=['y']).mutate(Many, example_input=(1, 4))
    space.activate(space.smallest_widths)
    profiler = FlopsProfiler(space, torch.zeros(1, 4))
    assert profiler.profile(space.full_widths) == space.macs(space.full_widths)


def test_a_width_space_is_no_mutated_supernet(space):
    assert not is_supernet(space)  # NNI would run other strategies in this process only
