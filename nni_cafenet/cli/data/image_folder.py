"""Images with one folder per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .image_files import check_images, find_images, image_size, open_image
from .layouts import layout_of, remark_on
from .pictures import Pictures, chosen_pixels, held_out, picture_data
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
    try:
        train, validate, cut = _parts(folder, request)
    except DataError as error:
        remark = remark_on('imagefolder', folder)
        raise DataError(f'{error}.{remark} A folder of pictures is\n{layout_of("imagefolder", folder)}') from error
    files = [file for part in (train, validate) for files in part.values() for file in files]
    check_images(files)
    pixels, note = chosen_pixels(request, len(files), lambda index: image_size(files[index]))
    classes = tuple(train)
    sizes = [sum(map(len, part.values())) for part in (train, validate)]
    return picture_data(
        request,
        pixels,
        train,
        validate,
        _Pictures,
        classes=classes,
        description=f'{sizes[0]:,} pictures for training and {sizes[1]:,} for validation{cut}, '
        f'{len(classes)} classes, resized to {pixels.height} x {pixels.width}{note}',
    )


def _parts(folder: Path, request: DataRequest) -> tuple[_Images, _Images, str]:
    """Return both parts, and a note if they were split by the seed."""
    train, validate = folder / 'train', folder / 'val'
    if train.is_dir() and validate.is_dir():
        parts = find_images(train), find_images(validate)
        _check_same_classes(*parts, folder)
        return (*parts, '')
    images = find_images(train if train.is_dir() else folder)
    counts = [len(files) for files in images.values()]
    held = held_out(np.repeat(np.arange(len(counts)), counts), request.seed, request.validation)
    masks = list(zip(images.items(), np.split(held, np.cumsum(counts)[:-1])))
    kept = {name: _where(files, mask) for (name, files), mask in masks}
    rest = {name: _where(files, ~mask) for (name, files), mask in masks}
    return rest, kept, f' (split by the seed {request.seed})'


def _check_same_classes(train: _Images, validate: _Images, folder: Path) -> None:
    missing = [f'{name} is not in {folder / "val"}' for name in train if name not in validate]
    missing += [f'{name} is not in {folder / "train"}' for name in validate if name not in train]
    if missing:
        more = f' and {len(missing) - 5} more' if len(missing) > 5 else ''
        raise DataError(
            f'the classes of training and validation differ: {", ".join(missing[:5])}{more}; both need the same folders'
        )


def _where(files: Sequence[Path], mask: NDArray[np.bool_]) -> list[Path]:
    return [file for file, chosen in zip(files, mask.tolist()) if chosen]


class _Pictures(Pictures):
    def __init__(self, images: _Images, pixels: Pixels, transform: Any) -> None:
        super().__init__(pixels, transform)
        self.samples = [(file, number) for number, files in enumerate(images.values()) for file in files]

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int) -> tuple[Any, int]:
        file, number = self.samples[index]
        return open_image(file, self.channels), number
