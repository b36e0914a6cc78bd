"""Small detectors of torchvision's classes, for pictures of 48 to 96 pixels."""

from __future__ import annotations

from torch import nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.ssd import SSD, DefaultBoxGenerator
from torchvision.ops import MultiScaleRoIAlign

ANCHORS = ((16, 24, 36),)


class Backbone(nn.Sequential):
    """Four convolutions, 8 pixels to one."""

    def __init__(self, width: int = 8) -> None:
        widths = (3, width, 2 * width, 2 * width, 2 * width)
        layers = []
        for index, (channels_in, channels) in enumerate(zip(widths, widths[1:])):
            stride = 2 if index < 3 else 1
            layers += [nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        super().__init__(*layers)
        self.out_channels = 2 * width


class BoxHead(nn.Module):
    """Classes and boxes of the regions."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.classes, self.boxes = nn.Linear(channels, classes), nn.Linear(channels, 4 * classes)

    def forward(self, x):
        return self.classes(x), self.boxes(x)


def retinanet(num_classes: int = 11, size: int = 48) -> RetinaNet:
    """A small RetinaNet."""
    anchors = AnchorGenerator(ANCHORS, ((1.0,),))
    return RetinaNet(Backbone(), num_classes, min_size=size, max_size=size, anchor_generator=anchors)


def fasterrcnn(num_classes: int = 11, size: int = 48) -> FasterRCNN:
    """A small Faster R-CNN."""
    few = {f'rpn_{kind}_nms_top_n_{mode}': 50 for kind in ('pre', 'post') for mode in ('train', 'test')}
    return FasterRCNN(
        Backbone(),
        min_size=size,
        max_size=size,
        rpn_anchor_generator=AnchorGenerator(ANCHORS, ((1.0,),)),
        box_roi_pool=MultiScaleRoIAlign(['0'], 3, 2),
        box_head=nn.Sequential(nn.Flatten(1), nn.Linear(16 * 9, 32), nn.ReLU()),
        box_predictor=BoxHead(32, num_classes),
        rpn_batch_size_per_image=32,
        box_batch_size_per_image=32,
        **few,
    )


def ssd(num_classes: int = 11, size: int = 48) -> SSD:
    """A small SSD."""
    backbone = Backbone()
    backbone.out_channels = [backbone.out_channels]  # one map
    return SSD(backbone, DefaultBoxGenerator([[2]], scales=[0.3, 0.6]), (size, size), num_classes)
