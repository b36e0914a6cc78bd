"""CelebA's 40 attributes of faces, from torchvision's files."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...errors import DataError, first_line
from .layouts import found_instead, layout_of
from .pixels import Pixels
from .request import Data, DataRequest
from .transforms import evaluation_transform, training_transform

__all__ = ['celeba']

_HEIGHT, _WIDTH = 218, 178
_CROP = 0.7
_FOLDER, _PICTURES = 'celeba', 'img_align_celeba'


def celeba(place: str, request: DataRequest) -> Data:
    """Return faces and their 40 attributes, 0 or 1, from a folder, without downloading.

    The loss is ``'bce'``, the metric the mean accuracy of the attributes. Raises `DataError` if files are missing or do
    not fit each other.
    """
    folder = Path(place)
    if folder.name == _FOLDER and (folder / _PICTURES).is_dir():
        folder = folder.parent
    train, valid = _read(folder, 'train'), _read(folder, 'valid')
    for name, part in (('training', train), ('validation', valid)):
        if not len(part):
            raise DataError(f'{folder / _FOLDER}/list_eval_partition.txt: has no picture for {name}')
    _check_pictures(folder / _FOLDER / _PICTURES, [*train.filename, *valid.filename])
    pixels = _pixels(request)
    train.plain = copy.copy(train)
    valid.transform = train.plain.transform = evaluation_transform(pixels)
    train.transform = training_transform(pixels, request.recipe, crop=_CROP)
    return Data(
        train=request.loader(train, train=True),
        validate=request.loader(valid, train=False),
        shape=pixels.shape,
        classes=tuple(train.attr_names[: train.attr.shape[1]]),
        description=f'{len(train):,} faces of CelebA for training and {len(valid):,} for validation, '
        f'{train.attr.shape[1]} attributes, {pixels.height} x {pixels.width}',
        loss='bce',
    )


def _read(folder: Path, split: str) -> Any:
    """Return a part of torchvision's data set; its checksums are not compared, so that a part of the data will do."""
    import torch
    from torchvision.datasets import CelebA

    class Files(CelebA):
        file_list = [(code, None, name) for code, _, name in CelebA.file_list]

    try:
        faces: Any = Files(str(folder), split=split, target_type='attr', download=False)
    except RuntimeError as error:
        raise DataError(
            f'{folder} does not contain CelebA: it {found_instead("celeba", folder)}. It needs\n'
            f'{layout_of("celeba", folder)}\nTo download it (1.4 GB): python -c "import torchvision; '
            f'torchvision.datasets.CelebA({str(folder)!r}, download=True)"'
        ) from error
    except (OSError, ValueError, IndexError) as error:
        raise DataError(
            f'{folder / _FOLDER}: the lists of CelebA are damaged or do not fit each other ({first_line(error, 80)})'
        ) from error
    faces.__class__ = CelebA  # which worker processes can import
    faces.target_transform = torch.Tensor.float
    return faces


def _check_pictures(folder: Path, names: Iterable[str]) -> None:
    there = {entry.name for entry in folder.iterdir()}
    missing = [name for name in names if name not in there]
    if missing:
        raise DataError(
            f'{folder} lacks {len(missing):,} of the listed pictures, such as {missing[0]}: unpack it again'
        )


def _pixels(request: DataRequest) -> Pixels:
    if request.pixels is not None and (request.exact or request.trained):
        return request.pixels
    pixels = Pixels.of((3, _WIDTH, _WIDTH))
    return Pixels(3, _WIDTH, _WIDTH, _WIDTH, pixels.mean, pixels.std)
