"""Images with one folder per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ...errors import DataError
from .image_files import check_images, find_images, open_image
from .pixels import Pixels
from .request import Data, DataRequest

__all__ = ['image_folder']

_Images = Mapping[str, Sequence[Path]]


def image_folder(place: str, request: DataRequest) -> Data:
    """Return the images of a folder: its ``train`` and ``val``, or one folder of classes split by the seed.

    Raises DataError if the folder is missing, a class is empty, the two parts differ in their classes, or pictures
    cannot be read.
    """
    folder = Path(place)
    if not folder.is_dir():
        what = 'is a file' if folder.exists() else 'is not there'
        raise DataError(f'the folder {folder} {what}; check the path, it counts from {Path.cwd()}')
    if request.pixels is None:
        raise DataError(
            'the image size of this model is unknown; give it by --input, the batch first, such as --input 1 3 224 224'
        )
    train, validate, cut = _parts(folder, request)
    check_images([file for part in (train, validate) for files in part.values() for file in files])
    classes = tuple(train)
    sizes = [sum(map(len, part.values())) for part in (train, validate)]
    return Data(
        train=request.loader(_Pictures(train, request.pixels, train=True), train=True),
        validate=request.loader(_Pictures(validate, request.pixels, train=False), train=False),
        shape=request.pixels.shape,
        classes=classes,
        description=f'{sizes[0]:,} pictures for training and {sizes[1]:,} for validation{cut}, '
        f'{len(classes)} classes, resized to {request.pixels.height} x {request.pixels.width}',
    )


def _parts(folder: Path, request: DataRequest) -> tuple[_Images, _Images, str]:
    """Return both parts, and a note if they were split by the seed."""
    train, validate = folder / 'train', folder / 'val'
    if train.is_dir() and validate.is_dir():
        parts = find_images(train), find_images(validate)
        _check_same_classes(*parts, folder)
        return (*parts, '')
    images = find_images(train if train.is_dir() else folder)
    cut = {
        name: _cut(files, [request.seed, index], request.validation)
        for index, (name, files) in enumerate(images.items())
    }
    kept = {name: held for name, (_, held) in cut.items()}
    if not any(kept.values()):
        raise DataError(f'{folder} has one picture per class, so none is left for validation; add more')
    return {name: rest for name, (rest, _) in cut.items()}, kept, f' (split by the seed {request.seed})'


def _check_same_classes(train: _Images, validate: _Images, folder: Path) -> None:
    missing = [f'{name} is not in {folder / "val"}' for name in train if name not in validate]
    missing += [f'{name} is not in {folder / "train"}' for name in validate if name not in train]
    if missing:
        more = f' and {len(missing) - 5} more' if len(missing) > 5 else ''
        raise DataError(
            f'the classes of training and validation differ: {", ".join(missing[:5])}{more}; both need the same folders'
        )


def _cut(files: Sequence[Path], seed: Sequence[int], share: float) -> tuple[list[Path], list[Path]]:
    """Split the images of a class; training gets at least one, then validation."""
    held = min(max(1, round(share * len(files))), len(files) - 1)
    chosen = set(np.random.default_rng(list(seed)).permutation(len(files))[:held].tolist())
    rest = [file for index, file in enumerate(files) if index not in chosen]
    return rest, [file for index, file in enumerate(files) if index in chosen]


class _Pictures(Dataset[Any]):
    """Images and class indices."""

    def __init__(self, images: _Images, pixels: Pixels, *, train: bool) -> None:
        self.samples = [(file, number) for number, files in enumerate(images.values()) for file in files]
        self.transform = pixels.transform(train)
        self.channels = pixels.channels

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        file, number = self.samples[index]
        return self.transform(open_image(file, self.channels)), number
