"""Steps of NNI's own supernet: ResNet-18 of its mutable layers, converted as its strategy RandomOneShot does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import nni
import numpy as np
import torchvision
from nni.nas.nn.pytorch import ModelSpace, MutableBatchNorm2d, MutableConv2d, MutableLinear
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from nni.nas.strategy import RandomOneShot
from torch import Tensor, nn

from .step_peers import Pair, step

_SHARES = range(1, 9)  # eighths of the full width


class _Layers:
    """The classes of layers that a ResNet-18 is written with."""

    conv, norm, linear = nn.Conv2d, nn.BatchNorm2d, nn.Linear


class _MutableLayers:
    """NNI's."""

    conv, norm, linear = MutableConv2d, MutableBatchNorm2d, MutableLinear


def full_widths() -> dict[str, int]:
    """Return the widths of ResNet-18 that can be chosen apart: of each residual sum, and within each block."""
    widths = {f'layer{number}': 32 * 2**number for number in range(1, 5)}
    return {**widths, **{f'{stage}.{block}': full for stage, full in widths.items() for block in range(2)}}


def resnet18(widths: dict[str, Any], layers: type = _Layers) -> nn.Module:
    """Return torchvision's ResNet-18 with layers of other widths: numbers or NNI's choices, by label."""
    network = torchvision.models.resnet18()

    def like(conv: nn.Conv2d, inputs: Any, outputs: Any) -> nn.Module:
        return layers.conv(
            inputs, outputs, conv.kernel_size, stride=conv.stride, padding=conv.padding, bias=conv.bias is not None
        )

    inputs = widths['layer1']
    network.conv1, network.bn1 = like(network.conv1, 3, inputs), layers.norm(inputs)
    for stage in ('layer1', 'layer2', 'layer3', 'layer4'):
        outputs = widths[stage]
        for index, block in enumerate(getattr(network, stage)):
            inner = widths[f'{stage}.{index}']
            block.conv1, block.bn1 = like(block.conv1, inputs, inner), layers.norm(inner)
            block.conv2, block.bn2 = like(block.conv2, inner, outputs), layers.norm(outputs)
            if block.downsample is not None:
                block.downsample = nn.Sequential(like(block.downsample[0], inputs, outputs), layers.norm(outputs))
            inputs = outputs
    network.fc = layers.linear(inputs, network.fc.out_features)
    return network


class ResNet18(ModelSpace):
    """NNI's model space: every width of `full_widths` is one of its eighths."""

    def __init__(self) -> None:
        super().__init__()
        choices = {
            label: nni.choice(label, [full * share // 8 for share in _SHARES]) for label, full in full_widths().items()
        }
        for choice in choices.values():
            self.add_mutable(choice)
        self.network = resnet18(choices, _MutableLayers)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, ``[batch, classes]``."""
        return self.network(images)


def supernet() -> tuple[nn.Module, Callable[[dict[str, int]], None]]:
    """Return NNI's supernet and what chooses its widths: ``resample`` of every layer, the labels given."""
    network = RandomOneShot().mutate_model(ResNet18())
    layers = [module for module in network.modules() if isinstance(module, BaseSuperNetModule)]

    def choose(widths: dict[str, int]) -> None:
        for layer in layers:
            layer.resample(memo=widths)

    return network, choose


def pairs(name: str, share: float | None, images: Tensor, seed: int) -> Iterator[Pair]:
    """Yield the steps of every round.

    A step of the supernet chooses the widths first, as NNI does before every training step.

    Parameters
    ----------
    name
        ``'resnet18'``: a space is written by hand, and there is none of other models.
    share
        Every width is the one nearest to this share of the full one; None for random ones.
    images
        What the steps run on.
    seed
        Of the random widths.

    Raises
    ------
    ValueError
        For another model.
    """
    if name != 'resnet18':
        raise ValueError('NNI needs a model written with its own layers; only resnet18 is')
    rng = np.random.default_rng(seed)
    network, choose = supernet()
    network.to(images.device).train()

    def draw() -> Pair:
        eighths = {
            label: int(rng.choice(_SHARES)) if share is None else min(_SHARES, key=lambda s: abs(s / 8 - share))
            for label in full_widths()
        }
        widths = {label: full * eighths[label] // 8 for label, full in full_widths().items()}
        slim = resnet18(widths).to(images.device).train()
        step(slim, images)  # operators prepare themselves at the first call of a size

        def choose_and_step() -> None:
            choose(widths)
            step(network, images)

        return Pair(choose_and_step, lambda: step(slim, images))

    pair = draw()
    while True:
        yield pair
        if share is None:
            pair = draw()
