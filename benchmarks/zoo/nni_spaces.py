"""The same search spaces as ours, written with NNI's own mutable layers, so that its profilers run on them at all.

NNI's profilers know few layers (no ReLU6, no flattening) and count nothing of those that they do not know. The networks
here are torchvision's MobileNetV2 and ResNet-50 in the layers that they know, which changes neither MACs nor parameters;
labels and widths are those of one of our spaces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import nni
from nni.nas.nn.pytorch import ModelSpace, MutableBatchNorm2d, MutableConv2d, MutableLinear
from torch import Tensor, nn

__all__ = ['SPACES']


class _Choices:
    """Hands out the choices of our space in order, as mutables of NNI."""

    def __init__(self, choices: Mapping[str, Sequence[int]]) -> None:
        self._left = list(choices.items())

    def next(self, full: int) -> Any:
        """Return the next mutable; a ValueError if it is not the one for a layer of ``full`` channels."""
        label, widths = self._left.pop(0)
        if max(widths) != full:
            raise ValueError(f'{label!r} has {max(widths)} channels, where the network has {full}')
        return nni.choice(label, list(widths))


def _layer(
    read: Any, made: Any, kernel: int, *, stride: int = 1, groups: Any = 1, active: bool = True
) -> list[nn.Module]:
    convolution = MutableConv2d(read, made, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, MutableBatchNorm2d(made), *([nn.ReLU()] if active else [])]


class _Residual(nn.Module):
    def __init__(self, branch: Sequence[nn.Module], shortcut: Sequence[nn.Module] | None) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)
        self.shortcut = nn.Sequential(*shortcut) if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (x if self.shortcut is None else self.shortcut(x)) + self.branch(x)
        return out


class _Network(ModelSpace):
    """A network of layers that NNI lets make mutables only while the space is made."""

    def __init__(self, choices: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        layers, last = self.make(_Choices(choices))
        self.layers = nn.Sequential(*layers)
        self.last = MutableLinear(last, 1000)

    def make(self, given: _Choices) -> tuple[list[nn.Module], Any]:
        """Return the layers before the last one, and the width that it reads."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.layers(x).mean([2, 3]))
        return out


class _MobileNetV2(_Network):
    def make(self, given: _Choices) -> tuple[list[nn.Module], Any]:
        width = given.next(32)
        layers = _layer(3, width, 3, stride=2)
        full = 32
        for factor, made, repeats, first in [
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ]:
            out = None
            for index in range(repeats):
                hidden = width if factor == 1 else given.next(full * factor)
                out = given.next(made) if out is None else out
                block = [] if factor == 1 else _layer(width, hidden, 1)
                block += _layer(hidden, hidden, 3, stride=first if index == 0 else 1, groups=hidden)
                block += _layer(hidden, out, 1, active=False)
                layers += [_Residual(block, None)] if index else block
                width, full = out, made
        last = given.next(1280)
        return [*layers, *_layer(width, last, 1)], last


class _ResNet50(_Network):
    def make(self, given: _Choices) -> tuple[list[nn.Module], Any]:
        width = given.next(64)
        layers = [*_layer(3, width, 7, stride=2), nn.MaxPool2d(3, 2, 1)]
        for inner, repeats, first in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]:
            out = None
            for index in range(repeats):
                stride = first if index == 0 else 1
                one, two = given.next(inner), given.next(inner)
                out = given.next(4 * inner) if out is None else out
                branch = [
                    *_layer(width, one, 1),
                    *_layer(one, two, 3, stride=stride),
                    *_layer(two, out, 1, active=False),
                ]
                shortcut = None if index else _layer(width, out, 1, stride=stride, active=False)
                layers += [_Residual(branch, shortcut), nn.ReLU()]
                width = out
        return layers, width


SPACES: dict[str, Callable[..., ModelSpace]] = {
    'mobilenet_v2': _MobileNetV2,
    'resnet50': _ResNet50,
}
"""``{torchvision's name: makes NNI's space from ``choices={label: widths}`` of ours}``."""
