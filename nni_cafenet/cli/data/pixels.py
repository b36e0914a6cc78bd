"""Images as a network expects them: size and normalization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..loading import torchvision_name

__all__ = ['Pixels', 'longest_side']

_LONGEST = 1333 / 800
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Pixels:
    """The pictures that a network takes.

    There is 1 channel for gray, 3 for RGB. ``resize`` is the shorter side of a whole picture, before its center is
    cropped for validation. ``mean`` and ``std`` normalize values between 0 and 1, one number per channel.
    """

    channels: int
    height: int
    width: int
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, shape: Sequence[int]) -> Pixels:
        """Return pictures of shape (channels, height, width), normalized as usual; a ValueError for another shape."""
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ValueError(
                f'pictures have 1 or 3 channels, a height and a width, not {tuple(shape)}; '
                'give --input 1 3 224 224 (the batch first)'
            )
        channels, height, width = shape
        mean, std = _IMAGENET if channels == 3 else ((0.5,), (0.5,))
        return cls(channels, height, width, round(min(height, width) * 256 / 224), mean, std)

    @classmethod
    def for_model(cls, spec: str) -> Pixels | None:
        """Return the images that torchvision's weights of a model were trained on; None if unknown. No download."""
        from torchvision import models

        name = torchvision_name(spec)
        if name is None:
            return None
        preset = models.get_model_weights(name).DEFAULT.transforms()
        if not hasattr(preset, 'crop_size'):
            return None
        size = preset.crop_size[0]
        return cls(3, size, size, preset.resize_size[0], tuple(preset.mean), tuple(preset.std))

    def resized(self, height: int, width: int) -> Pixels:
        """Return the same pictures in another size."""
        scale = self.resize / min(self.height, self.width)
        return replace(self, height=height, width=width, resize=round(scale * min(height, width)))

    def enlarged_from(self, height: int, width: int) -> str:
        """Return a note if pictures of a size are enlarged, with the remedy; else an empty text."""
        side = min(height, width)
        if side >= min(self.height, self.width):
            return ''
        cost = self.height * self.width / side**2
        return (
            f' (enlarged from {height} x {width}, {cost:.1f} times the MACs; --input 1 {self.channels} {side} {side})'
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.channels, self.height, self.width


def longest_side(height: int, width: int) -> int:
    """Return how long a picture may be whose shorter side is that of a detector's input: 1333/800 of it, as by default."""
    return max(height, width, round(min(height, width) * _LONGEST))
