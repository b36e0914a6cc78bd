"""Small residual networks that train in seconds on one core."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

__all__ = ['SmallResNet', 'StagedResNet']


class SmallResNet(nn.Module):
    """A residual network for images of 8x8 pixels, like ResNet-18: a stem and three stages of two blocks.

    Parameters
    ----------
    num_classes
        Number of outputs.
    width
        Channels of the stem and the first stage; the second has twice, the third four times as many.

    Notes
    -----
    Takes (N, 1, 8, 8) and returns (N, num_classes). The second and third stages halve the resolution, with 1x1 convolutions
    as shortcuts. At 16 channels it has 1.65M MACs and 175K parameters. On the digits it reaches 98.8 % in 15 epochs and
    99.1 % in 20 (mean of 3 seeds), by batches of 64 and SGD with Nesterov momentum 0.9, weight decay 5e-4 and one cycle up
    to a learning rate of 0.1.

    Examples
    --------
    >>> SmallResNet()(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(self, num_classes: int = 10, width: int = 16) -> None:
        super().__init__()
        if num_classes < 1 or width < 1:
            raise ValueError(f'num_classes and width must be at least 1, not {num_classes} and {width}')
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(_Block(width, width, 1), _Block(width, width, 1))
        self.layer2 = nn.Sequential(_Block(width, 2 * width, 2), _Block(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(_Block(2 * width, 4 * width, 2), _Block(4 * width, 4 * width, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (N, num_classes) of images (N, 1, 8, 8)."""
        x = relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        scores: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return scores


class StagedResNet(nn.Module):
    """A residual network with the given widths of stages, such as one that is too wide early or too wide late.

    Parameters
    ----------
    stages
        For each stage the width of its residual stream, then the inner width of each of its blocks. The stem is as wide
        as the first stream; every stage but the first halves the resolution.
    num_classes
        Number of outputs.
    in_channels
        Channels of the images.
    stem_stride
        Stride of the first convolution.

    Raises
    ------
    ValueError
        If there is no stage, a stage has no block, or a width is below 1.

    Notes
    -----
    Takes (N, in_channels, H, W) and returns (N, num_classes). The default, at 14x14 pixels, has 1,133,144 MACs, 80 % of
    them in its first block. Uniform scaling leaves it as unbalanced as it is, so a width search can improve it.

    Examples
    --------
    >>> StagedResNet()(torch.zeros(2, 1, 14, 14)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        stages: Sequence[Sequence[int]] = ((32, 32), (16, 16, 16), (12, 12, 12)),
        num_classes: int = 10,
        *,
        in_channels: int = 1,
        stem_stride: int = 2,
    ) -> None:
        super().__init__()
        if not stages or any(len(stage) < 2 or min(stage) < 1 for stage in stages):
            raise ValueError(
                f'stages={stages!r} must give each stage the width of its stream and of at least one block, 1 or more '
                'each, such as ((32, 32), (16, 16, 16)).'
            )
        width = stages[0][0]
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, stem_stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        blocks: list[nn.Module] = []
        for index, (stream, *inner) in enumerate(stages):
            for number, middle in enumerate(inner):
                blocks.append(_Block(width, stream, 2 if index and not number else 1, middle))
                width = stream
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (N, num_classes) of images (N, in_channels, H, W)."""
        scores: Tensor = self.fc(self.blocks(self.stem(x)).mean((2, 3)))
        return scores


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut; between them ``middle`` channels (default: ``channels``)."""

    def __init__(self, channels_in: int, channels: int, stride: int, middle: int | None = None) -> None:
        super().__init__()
        middle = channels if middle is None else middle
        self.conv1 = nn.Conv2d(channels_in, middle, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = relu(self.bn1(self.conv1(x)))
        return relu(self.bn2(self.conv2(y)) + shortcut)
