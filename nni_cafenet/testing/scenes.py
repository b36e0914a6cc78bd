"""Scenes of several small pictures with exact boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..utils import check_number, check_whole_number

__all__ = ['Scene', 'compose_scenes']

_INK = 16
"""Brightness from which on a pixel belongs to an item, not to its background."""

_BRIGHTEST = 40
"""Brightest background of a scene."""

_TRIES = 50
"""How often a place is drawn for an item; then the scene goes without it."""


@dataclass(frozen=True)
class Scene:
    """A picture of several items.

    Attributes
    ----------
    picture
        Pixels (size, size, 3), uint8.
    boxes
        Left, top, right and bottom of each item (N, 4), in pixels: exactly around what is drawn. Right and bottom are the
        first pixels outside.
    labels
        Class of each item (N,).
    """

    picture: NDArray[np.uint8]
    boxes: NDArray[np.int64]
    labels: NDArray[np.int64]


def compose_scenes(
    pictures: NDArray[np.uint8],
    labels: Sequence[int] | NDArray[np.int64],
    count: int,
    *,
    size: int = 96,
    items: tuple[int, int] = (1, 6),
    scales: tuple[float, float] = (0.75, 1.5),
    overlap: float = 0.3,
    seed: int = 0,
) -> Iterator[Scene]:
    """Compose scenes of items, such as those of Fashion-MNIST: bright on black, one class each.

    Parameters
    ----------
    pictures
        The items (N, height, width), uint8.
    labels
        Their classes (N,).
    count
        Number of scenes.
    size
        Width and height of a scene in pixels.
    items
        Smallest and largest number of items of a scene. Fewer are placed if there is no room.
    scales
        Smallest and largest factor by which an item is resized.
    overlap
        Largest share of the smaller of two boxes that the other may cover.
    seed
        The same seed and arguments give the same scenes.

    Yields
    ------
    Scene
        Items are tinted, on a dim background with noise; later ones cover earlier ones.

    Raises
    ------
    ValueError
        If an argument is out of range, or an item at the largest scale does not fit into a scene.

    Examples
    --------
    >>> items = np.full((3, 8, 8), 200, dtype=np.uint8)
    >>> scene = next(compose_scenes(items, [0, 1, 2], 1, size=32, items=(2, 2), overlap=0.0))
    >>> scene.picture.shape, len(scene.boxes)
    ((32, 32, 3), 2)
    """
    pictures, labels = np.asarray(pictures), np.asarray(labels, dtype=np.int64)
    if pictures.ndim != 3 or pictures.dtype != np.uint8 or len(pictures) < 1 or len(labels) != len(pictures):
        raise ValueError(
            f'pictures must be uint8 of shape (N, height, width) with N labels, not {pictures.dtype} of shape '
            f'{pictures.shape} with {len(labels)}.'
        )
    check_whole_number('count', count, 0)
    check_whole_number('size', size, 8)
    check_number('overlap', overlap, 0, 1)
    if not 1 <= items[0] <= items[1]:
        raise ValueError(f'items={items} must be the smallest and the largest number of items, 1 or more: (1, 6).')
    if not 0 < scales[0] <= scales[1] or max(pictures.shape[1:]) * scales[1] > size:
        raise ValueError(
            f'scales={scales} must be positive, the smaller first, and items of {pictures.shape[1:]} pixels must fit into '
            f'scenes of size={size} at the larger one: at most {size / max(pictures.shape[1:]):.2f}.'
        )
    return _scenes(pictures, labels, count, size, items, scales, overlap, np.random.default_rng(seed))


def _scenes(
    pictures: NDArray[np.uint8],
    labels: NDArray[np.int64],
    count: int,
    size: int,
    items: tuple[int, int],
    scales: tuple[float, float],
    overlap: float,
    rng: np.random.Generator,
) -> Iterator[Scene]:
    for _ in range(count):
        noise = rng.integers(0, _BRIGHTEST, (size, size, 1)) * rng.random((1, 1, 3))
        canvas = noise.astype(np.uint8)
        boxes: list[tuple[int, int, int, int]] = []
        chosen: list[int] = []
        for _ in range(int(rng.integers(items[0], items[1] + 1))):
            index = int(rng.integers(len(pictures)))
            item = _cropped(_resized(pictures[index], float(rng.uniform(*scales))))
            if not item.size:
                continue  # nothing is drawn
            height, width = item.shape
            for _ in range(_TRIES):
                left, top = int(rng.integers(size - width + 1)), int(rng.integers(size - height + 1))
                box = (left, top, left + width, top + height)
                if all(_covered(box, other) <= overlap for other in boxes):
                    place = canvas[top : top + height, left : left + width]
                    tinted = item[..., None] * rng.uniform(0.6, 1, 3)
                    place[item >= _INK] = np.maximum(tinted, _BRIGHTEST).astype(np.uint8)[item >= _INK]
                    boxes.append(box)
                    chosen.append(int(labels[index]))
                    break
        yield Scene(canvas, np.array(boxes, dtype=np.int64).reshape(-1, 4), np.array(chosen, dtype=np.int64))


def _resized(picture: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    height, width = (max(1, int(side * scale)) for side in picture.shape)
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def _cropped(item: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an item without its empty borders."""
    rows, columns = np.flatnonzero((item >= _INK).any(1)), np.flatnonzero((item >= _INK).any(0))
    return item[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else item[:0]


def _covered(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Return the share of the smaller of two boxes that is in both."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (one, other)]
    return max(0, width) * max(0, height) / min(areas)
