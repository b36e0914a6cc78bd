"""Scenes of real items: of Fashion-MNIST where it is installed, else of scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .items import read_part
from .scenes import Scene, compose_scenes

__all__ = ['real_classes', 'real_scenes']

_SIDE = 24  # of a digit, enlarged


def real_scenes(
    split: Literal['train', 'test'], count: int, *, size: int = 96, items: tuple[int, int] = (1, 6), seed: int = 0
) -> Iterator[Scene]:
    """Compose scenes of real items with exact boxes, without a download: detection data that a network can learn.

    Parameters
    ----------
    split
        The items: those of the training part, or of the test part, of Fashion-MNIST in the folder of Debian's package
        ``dataset-fashion-mnist``; without it, of scikit-learn's digits. No item is in both parts.
    count, size, items, seed
        As in `compose_scenes`. Items are 15 to 42 pixels wide.

    Returns
    -------
    Iterator[Scene]
        The scenes. Names of their classes: `real_classes`.

    Raises
    ------
    ValueError
        If an argument is out of range, or ``size`` is too small for the items.
    """
    pictures, labels = _items(split)
    return compose_scenes(pictures, labels, count, size=size, items=items, seed=seed)


def real_classes() -> tuple[str, ...]:
    """Return the names of the ten classes of `real_scenes`, by label."""
    return read_part('test').classes


def _items(split: Literal['train', 'test']) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    found = read_part(split)
    if found.pictures.shape[1] >= _SIDE:
        return found.pictures, found.labels
    enlarged = [Image.fromarray(each).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR) for each in found.pictures]
    return np.stack([np.asarray(each) for each in enlarged]), found.labels
