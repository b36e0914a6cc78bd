"""Fashion-MNIST, from the files of torchvision or of the Debian package ``dataset-fashion-mnist``."""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, first_line
from .pixels import Pixels
from .request import Data, DataRequest
from .transforms import training_transform

__all__ = ['DEFAULT_FOLDER', 'fashion_mnist', 'read_fashion_mnist']

DEFAULT_FOLDER = Path('/usr/share/datasets/fashion-mnist')
"""The folder of Debian's package."""

_CLASSES = ('T-shirt', 'trouser', 'pullover', 'dress', 'coat', 'sandal', 'shirt', 'sneaker', 'bag', 'ankle boot')
_SPLITS: tuple[Literal['train', 'test'], ...] = ('train', 'test')
_COUNTS = {'train': 60_000, 't10k': 10_000}
_MEAN, _STD = 0.2860, 0.3530  # of the training pictures, pixels from 0 to 1
_HEADER = {2051: 16, 2049: 8}  # magic number of pictures, of labels: bytes before the values


def read_fashion_mnist(
    folder: str | Path = DEFAULT_FOLDER, split: Literal['train', 'test'] = 'train'
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


def fashion_mnist(place: str, request: DataRequest) -> Data:
    """Return Fashion-MNIST from a folder, without downloading; raise `DataError` if files are missing or damaged."""
    shape = request.pixels.shape if request.pixels is not None and request.exact else (1, 28, 28)
    train, test = (read_fashion_mnist(place or DEFAULT_FOLDER, split) for split in _SPLITS)
    varied = _varied(*train, shape, request) if request.recipe.augments else _as_they_are(*train, shape)
    tests = _as_they_are(*test, shape)
    return Data(
        train=request.loader(varied, train=True),
        validate=request.loader(tests, train=False),
        shape=shape,
        classes=_CLASSES,
        description=f'{len(varied):,} pictures of Fashion-MNIST for training and {len(tests):,} for validation, '
        f'{shape[1]} x {shape[2]}',
    )


def _as_they_are(pictures: NDArray[np.uint8], labels: NDArray[np.int64], shape: tuple[int, ...]) -> Any:
    import torch
    from torch.utils.data import TensorDataset

    return TensorDataset(_inputs(pictures, shape), torch.from_numpy(labels))


def _varied(
    pictures: NDArray[np.uint8], labels: NDArray[np.int64], shape: tuple[int, int, int], request: DataRequest
) -> Any:
    """Return pictures that are varied by the recipe whenever they are read; they are not mirrored."""
    import torch
    from torchvision.datasets import FashionMNIST
    from torchvision.transforms import v2

    channels, height, width = shape
    pixels = Pixels(channels, height, width, min(height, width), (_MEAN,) * channels, (_STD,) * channels)
    made: Any = FashionMNIST.__new__(FashionMNIST)
    made.data, made.targets = torch.from_numpy(pictures), torch.from_numpy(labels)
    made.target_transform, made.transforms = None, None
    vary = training_transform(pixels, request.recipe, crop=None, flip=False)
    made.transform = v2.Compose([v2.Grayscale(3), vary]) if channels == 3 else vary
    made.plain = _as_they_are(pictures, labels, shape)
    return made


def _inputs(pictures: NDArray[np.uint8], shape: tuple[int, ...]) -> Any:
    """Return standardized pictures of a shape, float32 (N, *shape): one channel is repeated, the size is averaged."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d, interpolate

    channels, height, width = shape
    inputs = torch.from_numpy(pictures)[:, None].float().div_(255).sub_(_MEAN).div_(_STD)
    if height <= inputs.shape[2] and width <= inputs.shape[3]:
        inputs = adaptive_avg_pool2d(inputs, (height, width))
    else:
        inputs = interpolate(inputs, (height, width), mode='bilinear', antialias=True)
    return inputs.repeat(1, channels, 1, 1) if channels > 1 else inputs


def _files_in(folder: Path) -> Path:
    """Return the folder of the files: the given one, or torchvision's subfolder of it."""
    below = (folder, folder / 'raw', folder / 'FashionMNIST' / 'raw')
    for each in below:
        if any((each / f'train-labels-idx1-ubyte{end}').is_file() for end in ('', '.gz')):
            return each
    raise DataError(
        f'{folder} does not contain Fashion-MNIST (train-images-idx3-ubyte and three more files, plain or .gz). On Debian: '
        f'apt-get install dataset-fashion-mnist puts them into {DEFAULT_FOLDER}; elsewhere: '
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
