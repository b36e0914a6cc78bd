"""COCO: pictures with boxes, and other data sets in its format."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import DataError
from ...pruning import BoxPrecision
from .box_transforms import BoxTransform
from .coco_annotations import CocoAnnotations
from .image_files import open_image
from .layouts import found_instead, layout_of
from .request import Data, DataRequest

__all__ = ['coco']

_BACKGROUND, _NOTHING = '__background__', 'N/A'  # as torchvision names them
_SPLITS = ('train', 'val')
_NAMED = 3


def coco(place: str, request: DataRequest) -> Data:
    """Return pictures and boxes of a folder in COCO's format, without downloading.

    Batches are lists: pictures (3, height, width) between 0 and 1, in their own sizes, and targets as torchvision's
    detectors take them. Pictures that are larger than ``request.pixels`` are shrunk; detectors resize and normalize by
    themselves. Labels are 1, 2, ... in the order of the categories' ids, whatever gaps these have; for trained weights,
    which torchvision's detectors have for the ids of COCO, labels are the ids. Targets also have ``crowds``, the boxes of
    many objects, which no loss counts.

    Raises DataError if files are missing, damaged, or do not fit each other, and MissingExtraError without the extra
    ``detection``.
    """
    metric = BoxPrecision()
    _check_recipe(request)
    folder = Path(place)
    if folder.name == 'annotations' and not (folder / 'annotations').is_dir():
        folder = folder.parent
    files = {split: _files(folder, split) for split in _SPLITS}
    train, val = (CocoAnnotations.read(files[split][0]) for split in _SPLITS)
    _check_categories(train, val, files)
    for part, (_, pictures) in zip((train, val), files.values()):
        _check_pictures(pictures, part.names)
    labels = _labels(train.categories, as_ids=request.trained)
    limit = None if request.pixels is None or not request.exact else (request.pixels.height, request.pixels.width)
    plain = BoxTransform(limit)
    varied = _Pictures(files['train'][1], train, labels, BoxTransform(limit, crop=request.recipe.crop_scale, flip=True))
    varied.plain = _Pictures(files['train'][1], train, labels, plain)
    tests = _Pictures(files['val'][1], val, labels, plain)
    return Data(
        train=request.loader(varied, train=True, collate=_as_lists),
        validate=request.loader(tests, train=False, collate=_as_lists),
        shape=None,
        classes=_names(train.categories, labels),
        description=_described(train, val, files),
        loss='model',
        metric={'map': metric},
    )


def _check_recipe(request: DataRequest) -> None:
    name = next((each for each in request.recipe.augments if each != 'crop_scale'), None)
    if name is not None:
        raise DataError(
            f'training.{name} changes pictures without their boxes; omit it; training.crop_scale crops both'
        )


def _files(folder: Path, split: str) -> tuple[Path, Path]:
    """Return the newest annotation file of a split, such as ``instances_train2017.json``, and its folder of pictures."""
    found = sorted((folder / 'annotations').glob(f'instances_{split}*.json'))
    for file in reversed(found):
        name = file.stem.partition('_')[2]
        for pictures in (folder / name, folder / 'images' / name):
            if pictures.is_dir():
                return file, pictures
    if found:
        instead = f'has {found[-1].name}, but no folder {found[-1].stem.partition("_")[2]} of its pictures'
    elif (folder / 'annotations').is_dir():
        instead = f'has annotations, but no instances_{split}*.json in them'
    else:
        instead = found_instead('coco', folder)
    raise DataError(
        f'{folder} does not contain COCO: it {instead}. It needs\n{layout_of("coco", folder)}\n'
        'COCO is at https://cocodataset.org (20 GB). For a small data set in its format: python -m nni_cafenet.testing '
        '--coco DIR'
    )


def _check_pictures(folder: Path, names: Sequence[str]) -> None:
    there = {entry.name for entry in os.scandir(folder)}
    missing = [name for name in names if name not in there and not (folder / name).is_file()]
    if missing:
        raise DataError(
            f'{folder} lacks {len(missing):,} of the listed pictures, such as {missing[0]}: unpack it again'
        )


def _check_categories(train: CocoAnnotations, val: CocoAnnotations, files: Mapping[str, tuple[Path, Path]]) -> None:
    """Raise DataError if a category of the validation is another one in training, or none."""
    wrong = [number for number, name in val.categories.items() if train.categories.get(number) != name]
    if wrong:
        shown = ', '.join(f'{number} ({val.categories[number]})' for number in wrong[:_NAMED])
        raise DataError(
            f'{files["val"][0].name} has categories that {files["train"][0].name} has not, or under another name: {shown}; '
            'both need the same ids and names'
        )


def _labels(categories: Mapping[int, str], *, as_ids: bool) -> dict[int, int]:
    """Return the label of each category's id; 0 is the background."""
    if not as_ids:
        return {number: label for label, number in enumerate(categories, start=1)}
    if 0 in categories:
        raise DataError(f'the category 0 ({categories[0]}) is the background of trained detectors; count ids from 1')
    return {number: number for number in categories}


def _names(categories: Mapping[int, str], labels: Mapping[int, int]) -> tuple[str, ...]:
    """Return the name of each label."""
    names = {0: _BACKGROUND, **{labels[number]: name for number, name in categories.items()}}
    return tuple(names.get(label, _NOTHING) for label in range(max(names) + 1))


def _described(train: CocoAnnotations, val: CocoAnnotations, files: Mapping[str, tuple[Path, Path]]) -> str:
    empty = int((np.diff(train.starts) == 0).sum())
    notes = [f'{len(train.boxes):,} boxes of {len(train.categories)} categories']
    notes += [f'{int(train.crowds.sum()):,} of them of crowds'] if train.crowds.any() else []
    notes += [f'{empty:,} pictures without boxes'] if empty else []
    notes += [f'{train.dropped:,} boxes without an area left out'] if train.dropped else []
    return (
        f'{len(train.names):,} pictures of {files["train"][1].name} for training ({", ".join(notes)}) and '
        f'{len(val.names):,} of {files["val"][1].name} for validation'
    )


def _as_lists(samples: Sequence[tuple[Tensor, dict[str, Tensor]]]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Return a batch: pictures of several sizes, and their targets."""
    return [picture for picture, _ in samples], [target for _, target in samples]


class _Pictures(Dataset[Any]):
    """Pictures and targets."""

    plain: _Pictures

    def __init__(
        self, folder: Path, annotations: CocoAnnotations, labels: Mapping[int, int], transform: BoxTransform
    ) -> None:
        self.folder = folder
        self.names = np.array(annotations.names)  # workers would copy a list, name by name
        self.starts, self.boxes, self.crowds = annotations.starts, annotations.boxes, annotations.crowds
        table = np.zeros(max(labels) + 1, np.int64)
        table[list(labels)] = list(labels.values())
        self.labels = table[annotations.ids]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        own = slice(self.starts[index], self.starts[index + 1])
        picture = open_image(self.folder / str(self.names[index]))
        picture, boxes = self.transform(picture, torch.from_numpy(self.boxes[own]))
        labels, crowds = torch.from_numpy(self.labels[own]), torch.from_numpy(self.crowds[own])
        there = (boxes[:, 2:] > boxes[:, :2]).all(1)  # not cropped away
        return picture, dict(_target(boxes, labels, there & ~crowds, there & crowds))


def _target(boxes: Tensor, labels: Tensor, single: Tensor, crowds: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield 'boxes', boxes[single]
    yield 'labels', labels[single]
    yield 'crowds', boxes[crowds]
    yield 'crowd_labels', labels[crowds]
