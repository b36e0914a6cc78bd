"""Small real pictures, one thing each, of which data sets are made without a download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .fashion_mnist import FASHION_MNIST_CLASSES, FASHION_MNIST_FOLDER, read_fashion_mnist

__all__ = ['Items', 'read_items', 'read_part']

_SPLITS: tuple[Literal['train', 'test'], ...] = ('train', 'test')
_TEST_DIGITS = 600


@dataclass(frozen=True)
class Items:
    """Pictures of one thing each, bright on black.

    Attributes
    ----------
    pictures
        Pixels (N, height, width), uint8.
    labels
        Class of each picture (N,).
    classes
        Names of the classes.
    """

    pictures: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


def read_items(source: Literal['fashion-mnist', 'digits'] | None = None) -> dict[str, Items]:
    """Read small real pictures: those of training and those of tests.

    Parameters
    ----------
    source
        ``'fashion-mnist'`` of Debian's package, 28 x 28; or scikit-learn's ``'digits'``, 8 x 8. None: Fashion-MNIST where
        the package is installed, digits elsewhere.

    Returns
    -------
    dict
        ``{'train': Items, 'test': Items}``; no picture is in both.

    Raises
    ------
    DataError
        If Fashion-MNIST is asked for and not installed.
    """
    if source not in ('fashion-mnist', 'digits', None):
        raise ValueError(f"source={source!r} must be 'fashion-mnist', 'digits', or None.")
    return {split: read_part(split, source) for split in _SPLITS}


def read_part(split: Literal['train', 'test'], source: Literal['fashion-mnist', 'digits'] | None = None) -> Items:
    """Read the pictures of training or those of tests; see `read_items`."""
    if source == 'fashion-mnist' or (source is None and FASHION_MNIST_FOLDER.is_dir()):
        return Items(*read_fashion_mnist(split=split), FASHION_MNIST_CLASSES)
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    pictures = (pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    part = slice(_TEST_DIGITS) if split == 'test' else slice(_TEST_DIGITS, None)
    return Items(pictures[part], labels[part], tuple('0123456789'))
