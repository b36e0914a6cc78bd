"""The registry of models that tests share."""

from __future__ import annotations

import functools
import warnings

import torch
import torch.nn.functional as F
import torchvision
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


def scramble(model: nn.Module) -> nn.Module:
    """Give every vector of a fresh model values of its own: ones and zeros would hide a wrong slice."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.dim() == 1 and tensor.is_floating_point():
                around = 1.0 if name.endswith(('weight', 'running_var')) else 0.0
                tensor.copy_(around + torch.rand(tensor.shape, generator=generator) - 0.5)
    return model


def two_convolutions() -> nn.Module:
    """Two convolutions with batch normalization for digits (1, 8, 8): two groups, of 8 and 12 channels."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, stride=2),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 10),
    )


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


def wired(wiring, **members) -> nn.Module:
    """``wired(wiring, a=..., b=...)``: a module whose weights are all its own values."""
    return scramble(Wired(wiring, **members))


def tied() -> nn.Module:
    """Four linear layers, two of which share their weight."""
    layers = {'a': nn.Linear(3, 4), 'b': nn.Linear(4, 4, bias=False), 'c': nn.Linear(4, 4, bias=False)}
    model = wired(lambda net, x: net.d(net.c(F.relu(net.b(net.a(x))))), **layers, d=nn.Linear(4, 2))
    model.c.weight = model.b.weight
    return model


def detector() -> nn.Module:
    """Return a small Faster R-CNN for pictures of 64 x 64 that finds something with fresh weights."""
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
