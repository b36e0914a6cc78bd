"""Every architecture of segmentation-models-pytorch, on a small encoder."""

from __future__ import annotations

import importlib

from torch import nn

from .library import Library, Shape

_ENCODERS = {
    'Unet': 'resnet18',
    'UnetPlusPlus': 'resnet18',
    'MAnet': 'resnet18',
    'Linknet': 'mobilenet_v2',
    'FPN': 'efficientnet-b0',
    'PSPNet': 'resnet18',
    'PAN': 'resnet18',
    'DeepLabV3': 'resnet18',
    'DeepLabV3Plus': 'mobilenet_v2',
    'UPerNet': 'resnet18',
    'Segformer': 'mit_b0',
    'DPT': 'tu-vit_tiny_patch16_224',
}
_CLASSES = 21


def _shapes() -> dict[str, Shape]:
    return dict.fromkeys(_ENCODERS, (3, 224, 224))


def _make(name: str) -> nn.Module:
    smp = importlib.import_module('segmentation_models_pytorch')
    return getattr(smp, name)(_ENCODERS[name], encoder_weights=None, classes=_CLASSES)


SMP = Library('segmentation_models_pytorch', _shapes, _make)
