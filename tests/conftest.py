"""Helpers of all tests, as fixtures: test files cannot import each other."""

from __future__ import annotations

import copy
import functools
import logging
import os
import warnings

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch: the networks are too small for threads to pay

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import settings
from torch import nn

# The families that the analysis must cover, each with the smallest picture that leaves it something to convolve.
FAMILIES = {
    'resnet18': 32,
    'resnet50': 32,
    'resnext50_32x4d': 32,
    'vgg11_bn': 32,
    'mobilenet_v2': 32,
    'mobilenet_v3_small': 32,
    'efficientnet_b0': 32,
    'mnasnet0_5': 32,
    'densenet121': 32,
    'squeezenet1_1': 32,
    'regnet_y_400mf': 32,
    'googlenet': 64,
}

# The same examples at every run: a failure is one of this code, not of the day's draw. Others: --hypothesis-profile=explore
settings.register_profile('repeated', derandomize=True)
settings.register_profile('explore', max_examples=1000, print_blob=True)
settings.load_profile('repeated')

logging.getLogger('nni').setLevel(logging.ERROR)
torch.backends.cuda.enable_flash_sdp(False)  # on the CPU too: older releases do not count what it computes


@pytest.fixture(autouse=True)
def _same_weights():
    torch.manual_seed(0)


def scramble(model: nn.Module) -> nn.Module:
    """Give every vector of a fresh model values of its own: ones and zeros would hide a wrong slice."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.dim() == 1 and tensor.is_floating_point():
                around = 1.0 if name.endswith(('weight', 'running_var')) else 0.0
                tensor.copy_(around + torch.rand(tensor.shape, generator=generator) - 0.5)
    return model


def make_family(name: str) -> nn.Module:
    options = {'init_weights': False} if name == 'googlenet' else {}
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return scramble(getattr(torchvision.models, name)(num_classes=10, **options))


@functools.cache
def space_of_family(name: str):
    from nni_cafenet import WidthSpace

    return WidthSpace(functools.partial(make_family, name), example_input=(1, 3, FAMILIES[name], FAMILIES[name]))


@functools.cache
def graph_of(name: str, resolution: int, **options):
    from nni_cafenet.channels.analyse import analyse
    from nni_cafenet.channels.inputs import ExampleInput

    model = getattr(torchvision.models, name)(**options)
    return analyse(model, ExampleInput.of((1, 3, resolution, resolution), model), check=False)


@pytest.fixture(scope='session')
def full_size():
    """``full_size(name, resolution=224, **options)``: the channel graph of a torchvision model, made once."""
    return lambda name, resolution=224, **options: graph_of(name, resolution, **options)


@pytest.fixture
def family_factory():
    """``family_factory(name)()`` makes the model of the space that `family` gives."""
    return lambda name: functools.partial(make_family, name)


@pytest.fixture
def family():
    """``family(name)``: the width space of a torchvision model with 10 classes, made once, put back afterwards."""
    used = []

    def get(name: str):
        space = space_of_family(name)
        if all(space is not other for other, *_ in used):
            used.append((space, copy.deepcopy(dict(space.named_buffers()))))
        return space.eval()

    yield get
    for space, buffers in used:
        space.float().eval().zero_grad(set_to_none=True)
        space.activate(space.full_widths)
        with torch.no_grad():
            for name, buffer in space.named_buffers():
                buffer.copy_(buffers[name])


@pytest.fixture
def draw():
    """``draw(space, seed, 'random')``: widths and random channel sets of a space (torch tensors)."""

    def draw(space, seed: int, kind: str = 'random'):
        rng = np.random.default_rng(seed)
        widths = {
            'one': lambda: dict.fromkeys(space.labels, 1),
            'smallest': lambda: space.smallest_widths,
            'largest': lambda: space.full_widths,
            'random': lambda: {label: int(rng.integers(1, full + 1)) for label, full in space.full_widths.items()},
        }[kind]()
        sets = {
            label: torch.from_numpy(np.sort(rng.choice(space.full_widths[label], width, replace=False)))
            for label, width in widths.items()
        }
        return widths, sets

    return draw


class Wired(nn.Module):
    """Named layers and a function that wires them: ``Wired(lambda net, x: net.b(net.a(x)), a=..., b=...)``."""

    def __init__(self, wiring, **members):
        super().__init__()
        self.wiring = wiring
        for name, member in members.items():
            if isinstance(member, torch.Tensor) and not isinstance(member, nn.Parameter):
                self.register_buffer(name, member)
            else:
                setattr(self, name, member)

    def forward(self, *inputs, **keywords):
        return self.wiring(self, *inputs, **keywords)


@pytest.fixture(scope='session')
def wired():
    """``wired(wiring, a=..., b=...)``: a module whose weights are all its own values."""

    def make(wiring, **members):
        return scramble(Wired(wiring, **members))

    return make


@pytest.fixture(scope='session')
def analysed():
    """``analysed(model, shape)``: the channel graph before the forwards that verify it."""
    from nni_cafenet.channels.inputs import ExampleInput
    from nni_cafenet.channels.trace import trace

    return lambda model, example: trace(model, ExampleInput.of(example, model))


@pytest.fixture(scope='session')
def verified():
    """``verified(model, shape)``: the channel graph after them."""
    from nni_cafenet.channels.inputs import ExampleInput
    from nni_cafenet.channels.trace import trace
    from nni_cafenet.channels.verify import verify

    def run(model, example):
        example = ExampleInput.of(example, model)
        return verify(model, trace(model, example), example)

    return run
