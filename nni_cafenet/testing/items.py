"""Small real pictures, one thing each, of which data sets are made without a download."""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, first_line

__all__ = ['FASHION_MNIST_CLASSES', 'FASHION_MNIST_FOLDER', 'Items', 'read_fashion_mnist', 'read_items']

FASHION_MNIST_FOLDER = Path('/usr/share/datasets/fashion-mnist')
"""The folder of Debian's package."""

FASHION_MNIST_CLASSES = (
    'T-shirt',
    'trouser',
    'pullover',
    'dress',
    'coat',
    'sandal',
    'shirt',
    'sneaker',
    'bag',
    'ankle boot',
)
"""The classes of Fashion-MNIST."""

_COUNTS = {'train': 60_000, 't10k': 10_000}
_HEADER = {2051: 16, 2049: 8}  # magic number of pictures, of labels: bytes before the values
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
    if source == 'fashion-mnist' or (source is None and FASHION_MNIST_FOLDER.is_dir()):
        return {split: Items(*read_fashion_mnist(split=split), FASHION_MNIST_CLASSES) for split in _SPLITS}
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    pictures = (pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    parts = {'train': slice(_TEST_DIGITS, None), 'test': slice(_TEST_DIGITS)}
    return {name: Items(pictures[part], labels[part], tuple('0123456789')) for name, part in parts.items()}


def read_fashion_mnist(
    folder: str | Path = FASHION_MNIST_FOLDER, split: Literal['train', 'test'] = 'train'
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the pictures (N, 28, 28) and labels of a part of Fashion-MNIST.

    The folder contains the four ``-ubyte`` files, plain or as ``.gz``: Debian's (default), torchvision's
    ``ROOT/FashionMNIST/raw``, or one of the two folders above that. Raises DataError if a file is missing or damaged.
    """
    if split not in ('train', 'test'):
        raise ValueError(f"split={split!r} must be 'train' or 'test'.")
    part = 'train' if split == 'train' else 't10k'
    where = _files_in(Path(folder))
    count = _COUNTS[part]
    pictures = _read(where, f'{part}-images-idx3-ubyte', (count, 28, 28))
    labels = _read(where, f'{part}-labels-idx1-ubyte', (count,))
    return pictures, labels.astype(np.int64)


def _files_in(folder: Path) -> Path:
    """Return the folder of the files: the given one, or torchvision's subfolder of it."""
    below = (folder, folder / 'raw', folder / 'FashionMNIST' / 'raw')
    for each in below:
        if any((each / f'train-labels-idx1-ubyte{end}').is_file() for end in ('', '.gz')):
            return each
    raise DataError(
        f'{folder} does not contain Fashion-MNIST (train-images-idx3-ubyte and three more files, plain or .gz). On Debian: '
        f'apt-get install dataset-fashion-mnist puts them into {FASHION_MNIST_FOLDER}; elsewhere: '
        'python -c "import torchvision; torchvision.datasets.FashionMNIST(\'DIR\', download=True)"'
    )


def _read(folder: Path, name: str, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Read a file of the IDX format."""
    path = next((each for each in (folder / name, folder / f'{name}.gz') if each.is_file()), None)
    if path is None:
        raise DataError(f'{folder} has no {name}, nor {name}.gz: fetch the four files of Fashion-MNIST again.')
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == '.gz' else path.read_bytes()
    except (OSError, EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise DataError(f'{path} cannot be read ({first_line(error, 60)}): fetch it again.') from error
    start = _HEADER.get(int.from_bytes(content[:4], 'big'), 0)
    if start != 4 + 4 * len(shape) or len(content) != start + math.prod(shape):
        raise DataError(
            f'{path} is not the file of Fashion-MNIST, or is incomplete ({len(content):,} bytes): fetch it again.'
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()
