"""Fashion-MNIST, from the files of torchvision or of the Debian package ``dataset-fashion-mnist``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...testing import FASHION_MNIST_CLASSES, FASHION_MNIST_FOLDER, read_fashion_mnist
from .layouts import looks_like
from .pixels import Pixels
from .request import Data, DataRequest
from .transforms import training_transform

__all__ = ['fashion_mnist']

_SPLITS: tuple[Literal['train', 'test'], ...] = ('train', 'test')
_SIDE = 28
_MEAN, _STD = 0.2860, 0.3530  # of the training pictures, pixels from 0 to 1


def fashion_mnist(place: str, request: DataRequest) -> Data:
    """Return Fashion-MNIST from a folder, without downloading; raise `DataError` if files are missing or damaged."""
    shape = request.pixels.shape if request.pixels is not None and request.exact else (1, _SIDE, _SIDE)
    folder = Path(place or FASHION_MNIST_FOLDER)
    try:
        train, test = (read_fashion_mnist(folder, split) for split in _SPLITS)
    except DataError as error:
        instead = looks_like('fashion-mnist', folder)
        raise DataError(f'{error}. {folder} {instead}' if instead else str(error)) from error
    varied = _varied(*train, shape, request) if request.recipe.augments else _as_they_are(*train, shape)
    tests = _as_they_are(*test, shape)
    return Data(
        train=request.loader(varied, train=True),
        validate=request.loader(tests, train=False),
        shape=shape,
        classes=FASHION_MNIST_CLASSES,
        description=f'{len(varied):,} pictures of Fashion-MNIST for training and {len(tests):,} for validation, '
        f'{shape[1]} x {shape[2]}{Pixels.of(shape).enlarged_from(_SIDE, _SIDE)}',
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
