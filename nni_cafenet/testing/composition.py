"""Items drawn in color on cuts of photographs."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from .items import Items

__all__ = ['Drawn', 'choose', 'draw', 'photograph_cut']

_CUT = 120
"""Width and height of a cut of a photograph."""

_OPAQUE = 8
"""Factor from the brightness of an item's pixel to its opacity: all but the faintest cover the photograph."""


@dataclass(frozen=True)
class Drawn:
    """How an item is drawn: its side in pixels, the place of its center, its brightest color, upside down or not."""

    pixels: NDArray[np.uint8]
    side: int
    center: tuple[int, int]
    color: tuple[int, int, int]
    upside_down: bool = False


@functools.cache
def _photographs() -> tuple[NDArray[np.uint8], ...]:
    """Return scikit-learn's photographs: a temple, and a flower."""
    from sklearn.datasets import load_sample_images

    return tuple(load_sample_images().images)


def photograph_cut(
    rng: np.random.Generator, size: tuple[int, int], brightness: float = 0.6, which: int | None = None
) -> Image.Image:
    """Return a cut of a photograph of a size (width, height)."""
    photographs = _photographs()
    photograph = photographs[int(rng.integers(len(photographs))) if which is None else which]
    top, left = (int(rng.integers(0, side - _CUT)) for side in photograph.shape[:2])
    cut = Image.fromarray(photograph[top : top + _CUT, left : left + _CUT]).resize(size)
    return ImageEnhance.Brightness(cut).enhance(brightness)


def choose(rng: np.random.Generator, items: Items, label: int) -> NDArray[np.uint8]:
    """Return a random item of a class."""
    found: NDArray[np.uint8] = items.pictures[rng.choice(np.flatnonzero(items.labels == label))]
    return found


def draw(picture: Image.Image, drawn: Drawn) -> None:
    """Draw an item on a picture."""
    pixels = drawn.pixels[::-1] if drawn.upside_down else drawn.pixels
    item = Image.fromarray(pixels).resize((drawn.side, drawn.side), Image.Resampling.BICUBIC)
    gray = np.asarray(item, dtype=np.float32)
    colored = Image.fromarray((gray[..., None] * (np.array(drawn.color) / 255)).astype(np.uint8))
    opacity = Image.fromarray(np.clip(gray * _OPAQUE, 0, 255).astype(np.uint8))
    picture.paste(colored, (drawn.center[0] - drawn.side // 2, drawn.center[1] - drawn.side // 2), opacity)
