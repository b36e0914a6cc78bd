"""Networks of the recipes that torchvision lacks: for pictures of 32 x 32, MobileNetV1, and a wider EfficientNet-B0."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models import EfficientNet, MobileNetV2
from torchvision.models.efficientnet import MBConvConfig
from torchvision.ops import Conv2dNormActivation

__all__ = ['MobileNetV1', 'Vgg19', 'efficientnet_b0', 'mobilenet_v1', 'mobilenet_v2_cifar', 'vgg19_cifar']

_VGG19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
_MOBILE_V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *5 * ((512, 1),), (1024, 2), (1024, 1))
_MOBILE_V2_CIFAR = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_EFFICIENT_B0 = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


class Vgg19(nn.Module):
    """VGG-19 with batch normalization for pictures of 32 x 32, with a single linear layer: 398,136,320 MACs."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for stage, (width, count) in enumerate(_VGG19):
            for _ in range(count):
                layers.append(Conv2dNormActivation(before, width, 3))
                before = width
            layers.append(nn.MaxPool2d(2) if stage < len(_VGG19) - 1 else nn.AdaptiveAvgPool2d(1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (N, num_classes) of pictures (N, 3, H, W)."""
        scores: Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return scores


class MobileNetV1(nn.Module):
    """MobileNet (Howard et al. 2017): depthwise and pointwise convolutions, 569 million MACs at 224 x 224."""

    def __init__(self, num_classes: int = 1000, width_mult: float = 1.0) -> None:
        super().__init__()

        def scaled(width: int) -> int:
            return max(8, round(width * width_mult / 8) * 8)

        before = scaled(32)
        layers: list[nn.Module] = [Conv2dNormActivation(3, before, 3, 2)]
        for width, stride in _MOBILE_V1:
            layers.append(Conv2dNormActivation(before, before, 3, stride, groups=before))
            layers.append(Conv2dNormActivation(before, scaled(width), 1))
            before = scaled(width)
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (N, num_classes) of pictures (N, 3, H, W)."""
        scores: Tensor = self.classifier(torch.flatten(self.pool(self.features(x)), 1))
        return scores


def vgg19_cifar(num_classes: int = 10) -> nn.Module:
    """Return VGG-19 for pictures of 32 x 32 (see `Vgg19`)."""
    return Vgg19(num_classes)


def mobilenet_v1(num_classes: int = 1000, width_mult: float = 1.0) -> nn.Module:
    """Return MobileNet (see `MobileNetV1`); ``width_mult`` scales all widths, in multiples of 8."""
    return MobileNetV1(num_classes, width_mult)


def mobilenet_v2_cifar(num_classes: int = 10, width_mult: float = 1.0) -> nn.Module:
    """Return torchvision's MobileNetV2 for pictures of 32 x 32: its first convolution and second stage keep the size."""
    model = MobileNetV2(num_classes, width_mult, [list(stage) for stage in _MOBILE_V2_CIFAR])
    stem: nn.Conv2d = model.features[0][0]
    stem.stride = (1, 1)
    return model


def efficientnet_b0(num_classes: int = 1000, width_mult: float = 1.0) -> nn.Module:
    """Return torchvision's EfficientNet-B0 with all widths scaled, in multiples of 8."""
    make = partial(MBConvConfig, width_mult=width_mult, depth_mult=1.0)
    return EfficientNet([make(*stage) for stage in _EFFICIENT_B0], dropout=0.2, num_classes=num_classes)
