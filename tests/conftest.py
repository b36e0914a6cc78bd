"""Helpers of all tests, as fixtures: test files cannot import each other."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import os
import tempfile
import warnings

os.environ.setdefault('NNI_CAFENET_KEY', os.path.join(tempfile.mkdtemp(), 'key'))  # not the user's own
os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch: the networks are too small for threads to pay

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import HealthCheck, settings
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

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
# How long they take says how busy the machine is.
UNTIMED = {'deadline': None, 'suppress_health_check': [HealthCheck.too_slow]}
settings.register_profile('repeated', derandomize=True, **UNTIMED)
settings.register_profile('explore', max_examples=1000, print_blob=True, **UNTIMED)
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
    from nni_cafenet.analysis.analyze import analyze_model
    from nni_cafenet.graph.example_input import ExampleInput

    model = getattr(torchvision.models, name)(**options)
    return analyze_model(model, ExampleInput.of((1, 3, resolution, resolution), model), check=False)


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


@contextlib.contextmanager
def without_dropout(model: nn.Module):
    """Dropout draws for places, not for channels: in another order it is another draw."""
    layers = [module for module in model.modules() if isinstance(module, (_DropoutNd, nn.MultiheadAttention))]
    names = ['p' if isinstance(layer, _DropoutNd) else 'dropout' for layer in layers]
    rates = [getattr(layer, name) for layer, name in zip(layers, names)]
    for layer, name in zip(layers, names):
        setattr(layer, name, 0.0)
    yield
    for layer, name, rate in zip(layers, names, rates):
        setattr(layer, name, rate)


@pytest.fixture(scope='session')
def same_in_any_order():
    """``same_in_any_order(space, *inputs)``: order the channels of a space in float64, hold it to all that this promises.

    The function in both modes and the running statistics are the same, a prefix is the slim model of the channels that
    come first, and undone everything is as it was, to the last bit.
    """
    from nni_cafenet import order_channels, permute_channels

    def run(model, inputs):
        torch.manual_seed(0)  # the same paths of stochastic depth
        with torch.no_grad():
            leaves = torch.utils._pytree.tree_leaves(model(*inputs))
        return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]

    def agree(left, right):
        assert [a.shape for a in left] == [b.shape for b in right]
        for a, b in zip(left, right):
            assert float((a - b).abs().max()) <= 1e-9 * float(b.abs().max())

    def restore(model, buffers):
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])

    def check(space, *inputs):
        model = space.full_model
        original = copy.deepcopy({**dict(model.named_parameters()), **dict(model.named_buffers())})
        rng = np.random.default_rng(0)
        ranks = {label: rng.random(width) for label, width in space.full_widths.items()}
        half = {label: max(1, width // 2) for label, width in space.full_widths.items()}
        best = {label: np.sort(np.argsort(-ranks[label])[:width]) for label, width in half.items()}
        with without_dropout(model):
            evaluated = run(space.eval(), inputs)
            chosen = run(space.slim(half, best), inputs)
            trained = run(space.train(), inputs)
            statistics = copy.deepcopy(dict(model.named_buffers()))
            restore(model, original)
            order = order_channels(space, ranks)
            assert order.kept == {}
            agree(run(space.eval(), inputs), evaluated)
            agree(run(space.slim(half), inputs), chosen)
            agree(run(space.train(), inputs), trained)
        permute_channels(space.eval(), order.inverse())
        for name, buffer in model.named_buffers():
            torch.testing.assert_close(buffer, statistics[name], rtol=1e-9, atol=1e-9)
        restore(model, original)
        now = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        assert all(torch.equal(now[name], tensor) for name, tensor in original.items())

    return check


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


def make_detector() -> nn.Module:
    """Return a Faster R-CNN with a small backbone."""
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(3, 12, 3, 4, 1), nn.BatchNorm2d(12), nn.ReLU(inplace=True), nn.Conv2d(12, 16, 3, 4, 1)
    )
    backbone.out_channels = 16
    return torchvision.models.detection.FasterRCNN(
        backbone,
        num_classes=None,
        min_size=64,
        max_size=64,
        rpn_anchor_generator=torchvision.models.detection.rpn.AnchorGenerator(((16, 32),), ((0.5, 1.0),)),
        box_roi_pool=torchvision.ops.MultiScaleRoIAlign(['0'], output_size=3, sampling_ratio=2),
        box_head=torchvision.models.detection.faster_rcnn.TwoMLPHead(16 * 9, 20),
        box_predictor=torchvision.models.detection.faster_rcnn.FastRCNNPredictor(20, 3),
        box_score_thresh=0.0,
        box_detections_per_img=5,
    )


@pytest.fixture(scope='session')
def detector():
    """``detector()``: a small Faster R-CNN for pictures of 64 x 64 that finds something with fresh weights."""
    return make_detector


@pytest.fixture(scope='session')
def analyzed():
    """``analyzed(model, shape)``: the channel graph before the forwards that verify it."""
    from nni_cafenet.analysis.propagate import trace
    from nni_cafenet.graph.example_input import ExampleInput

    return lambda model, example: trace(model, ExampleInput.of(example, model))


@pytest.fixture(scope='session')
def verified():
    """``verified(model, shape)``: the channel graph after them."""
    from nni_cafenet.analysis.propagate import trace
    from nni_cafenet.analysis.verification import verify_groups
    from nni_cafenet.graph.example_input import ExampleInput

    def run(model, example):
        example = ExampleInput.of(example, model)
        return verify_groups(model, trace(model, example), example)

    return run
