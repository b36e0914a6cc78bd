"""Images with one folder per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ...errors import DataError
from .image_files import check_images, find_images, image_size, open_image
from .layouts import found_instead, layout_of
from .pixels import Pixels
from .request import Data, DataRequest
from .transforms import evaluation_transform, training_transform

__all__ = ['image_folder']

_Images = Mapping[str, Sequence[Path]]

_CROP = 0.5
_LOOKED_AT = 64
"""Pictures whose size is looked at."""


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
        instead = found_instead('imagefolder', folder)
        remark = f' It {instead}.' if 'looks like' in instead else ''
        raise DataError(f'{error}.{remark} A folder of pictures is\n{layout_of("imagefolder", folder)}') from error
    files = [file for part in (train, validate) for files in part.values() for file in files]
    check_images(files)
    pixels, note = _pixels(request, files)
    classes = tuple(train)
    sizes = [sum(map(len, part.values())) for part in (train, validate)]
    plain = evaluation_transform(pixels)
    varied = _Pictures(train, pixels, training_transform(pixels, request.recipe, crop=_CROP))
    varied.plain = _Pictures(train, pixels, plain)
    return Data(
        train=request.loader(varied, train=True),
        validate=request.loader(_Pictures(validate, pixels, plain), train=False),
        shape=pixels.shape,
        classes=classes,
        description=f'{sizes[0]:,} pictures for training and {sizes[1]:,} for validation{cut}, '
        f'{len(classes)} classes, resized to {pixels.height} x {pixels.width}{note}',
    )


def _pixels(request: DataRequest, files: Sequence[Path]) -> tuple[Pixels, str]:
    """Return the size that pictures get, and a note if it is that of the pictures themselves.

    That is the case if the size that the model was made for is unknown or larger, and neither was a size given nor are
    there weights that were trained on another one.
    """
    given = request.pixels
    if given is not None and (request.exact or request.trained):
        return given, ''
    chosen = np.random.default_rng([request.seed, 3]).permutation(len(files))[:_LOOKED_AT]
    height, width = (int(np.median(sides)) for sides in zip(*(image_size(files[index]) for index in chosen)))
    side = min(height, width)
    if given is not None and side >= min(given.height, given.width):
        return given, ''
    made = '' if given is None else f'; the model was made for {given.height} x {given.width}'
    note = f' (the size of the pictures{made}; --input gives another)'
    return Pixels.of((3, side, side)) if given is None else given.resized(side, side), note


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

    plain: _Pictures

    def __init__(self, images: _Images, pixels: Pixels, transform: Any) -> None:
        self.samples = [(file, number) for number, files in enumerate(images.values()) for file in files]
        self.transform = transform
        self.channels = pixels.channels

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        file, number = self.samples[index]
        return self.transform(open_image(file, self.channels)), number
