"""CIFAR-10 from torchvision's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import DataError, first_line
from .pixels import Pixels
from .request import Data, DataRequest

__all__ = ['cifar10']

_MEAN, _STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def cifar10(place: str, request: DataRequest) -> Data:
    """Return CIFAR-10 from a folder, without downloading; raise `DataError` if files are missing."""
    from torchvision.datasets import CIFAR10

    folder = Path(place)
    if folder.name == CIFAR10.base_folder:
        folder = folder.parent
    try:
        train = CIFAR10(str(folder), train=True, download=False)
        test = CIFAR10(str(folder), train=False, download=False)
    except (RuntimeError, OSError) as error:
        raise DataError(
            f'{folder} does not contain CIFAR-10, or is incomplete ({first_line(error, 60)}); to download it (170 MB): '
            f'python -c "import torchvision; torchvision.datasets.CIFAR10({str(folder)!r}, download=True)"'
        ) from error
    shape = request.pixels.shape if request.pixels is not None and request.exact else (3, 32, 32)
    train.transform, test.transform = _transform(shape, True), _transform(shape, False)
    return Data(
        train=request.loader(train, train=True),
        validate=request.loader(test, train=False),
        shape=shape,
        classes=tuple(train.classes),
        description=f'{len(train):,} pictures of CIFAR-10 for training and {len(test):,} for validation, '
        f'{shape[1]} x {shape[2]}',
    )


def _transform(shape: tuple[int, int, int], train: bool) -> Any:
    from torchvision import transforms

    channels, height, width = shape
    if channels != 3:
        return Pixels.of(shape).transform(train)
    steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()] if train else []
    if (height, width) != (32, 32):
        steps.append(transforms.Resize((height, width)))
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(_MEAN, _STD)])
