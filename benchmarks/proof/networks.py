"""The networks of the proof: how each is made, which widths are searched, and what its uniform network is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn
from torchvision.models import MobileNetV2

from nni_cafenet import FlopsSensitiveBins, WidthMutator, WidthSpace
from nni_cafenet.testing import StagedResNet

Stages = tuple[tuple[int, ...], ...]


class Network(Protocol):
    """What a task searches."""

    def describe(self) -> str:
        """Return its name and full widths, for a table."""

    def space(self, size: int) -> WidthSpace:
        """Make its space, for pictures of some height and width."""

    def uniform(self, space: WidthSpace, ratio: float) -> dict[str, int]:
        """Return the uniform network: its MACs are a budget."""


@dataclass(frozen=True)
class Staged:
    """A residual network of the given stages; every channel is a bin, so uniform networks are widths of its space."""

    stages: Stages

    def describe(self) -> str:
        """Return the widths of its stages."""
        return '|'.join('-'.join(map(str, stage)) for stage in self.stages)

    def space(self, size: int) -> WidthSpace:
        """Make its space."""
        return WidthMutator(bins=FlopsSensitiveBins(max_bin=1)).mutate(
            StagedResNet, self.stages, example_input=(1, 1, size, size)
        )

    def uniform(self, space: WidthSpace, ratio: float) -> dict[str, int]:
        """Return ``ratio`` times the width of every group, rounded."""
        return dict(zip(space.labels, scaled([width for stage in self.stages for width in stage], ratio)))


@dataclass(frozen=True)
class Mobile:
    """`GrayMobileNetV2` with half of the channels; bins are the package's default."""

    width: float = 0.5

    def describe(self) -> str:
        """Return its name and its settings."""
        blocks = ' '.join('-'.join(map(str, setting)) for setting in SETTINGS)
        return f'MobileNetV2 x {self.width:g} with blocks {blocks} (expansion-channels-blocks-stride)'

    def space(self, size: int) -> WidthSpace:
        """Make its space."""
        return WidthMutator().mutate(GrayMobileNetV2, self.width, example_input=(1, 1, size, size))

    def uniform(self, space: WidthSpace, ratio: float) -> dict[str, int]:
        """Return the uniform network within ``ratio`` of the MACs."""
        return space.uniform_within(int(ratio * space.macs(space.full_widths)))


SETTINGS = ((1, 16, 1, 1), (6, 24, 1, 1), (6, 32, 2, 2), (6, 64, 2, 2), (6, 96, 1, 1), (6, 160, 1, 2))
"""torchvision's `inverted_residual_setting`, with about half of MobileNetV2's blocks and strides for small pictures."""


class GrayMobileNetV2(nn.Module):
    """torchvision's MobileNetV2 with the blocks of `SETTINGS`; pictures are (N, 1, H, W), H and W about 28."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.model = MobileNetV2(10, width, [list(setting) for setting in SETTINGS])
        first: Any = self.model.features[0]
        first[0] = nn.Conv2d(1, first[0].out_channels, 3, 2, 1, bias=False)
        nn.init.kaiming_normal_(first[0].weight, mode='fan_out')

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (N, 10) of images (N, 1, H, W)."""
        scores: Tensor = self.model(x)
        return scores


def parse_stages(text: str) -> Stages:
    """Read stages such as ``32-32,16-16-16,12-12-12``."""
    try:
        return tuple(tuple(int(width) for width in stage.split('-')) for stage in text.split(','))
    except ValueError:
        raise ValueError(f'{text!r}: write the widths of each stage, such as 32-32,16-16-16,12-12-12') from None


def scaled(widths: Sequence[int], ratio: float) -> tuple[int, ...]:
    """Return the widths of a uniform network."""
    return tuple(max(1, int(ratio * width + 0.5)) for width in widths)
