"""Selection of a data source by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from ...errors import DataError, MissingExtraError
from ...utils import absolute_path
from ..loading import CodeName
from .hub_name import HubName, check_datasets
from .request import Data, DataRequest
from .shards import find_shards

__all__ = [
    'FORMS',
    'NAMED',
    'OF_FOLDERS',
    'absolute_source',
    'check_form',
    'check_outputs',
    'load_data',
    'missing_place',
    'names_code',
]

_R = TypeVar('_R')
_T = TypeVar('_T')


FORMS = {
    'digits': "scikit-learn's digits, 8 x 8, for a first try",
    'imagefolder:DIR': 'pictures in DIR/train/CLASS and DIR/val/CLASS, or in DIR/CLASS',
    'cifar10:DIR': 'CIFAR-10 as torchvision keeps it in DIR',
    'cifar100:DIR': 'CIFAR-100 as torchvision keeps it in DIR',
    'celeba:DIR': 'CelebA as torchvision keeps it in DIR: 40 attributes of faces',
    'coco:DIR': 'COCO, or boxes in its format: DIR/annotations, DIR/train2017, DIR/val2017; for detectors',
    'fashion-mnist[:DIR]': "Fashion-MNIST as torchvision keeps it in DIR; or in the folder of Debian's package",
    'webdataset:SHARDS': 'tar files of pictures and classes: a folder, or a pattern such as train-{000..099}.tar',
    'datasets:NAME': 'pictures of a data set of Hugging Face: a folder, or a name of the hub (extra: datasets)',
    'package.module:function': 'a function that returns a training loader, or training and validation loaders',
    'file.py:function': 'the same in a file',
}
"""Supported forms of a source and their meaning."""

OF_FOLDERS = ('imagefolder', 'cifar10', 'cifar100', 'celeba', 'coco', 'fashion-mnist')
"""Sources that name a folder."""

NAMED = (*OF_FOLDERS, 'webdataset', 'datasets')
"""Sources that name a folder, shards, or a data set of the hub behind a colon."""

_WITHOUT_FOLDER = ('digits', 'fashion-mnist')


def check_form(source: str) -> None:
    """Raise DataError if a source has none of the forms, without looking for it."""
    kind, colon, place = source.partition(':')
    if source in _WITHOUT_FOLDER or names_code(source):
        return
    if kind in NAMED and colon:
        if not place:
            form = next(form for form in FORMS if form.startswith(kind)).replace('[', '').replace(']', '')
            raise DataError(f'data {source!r}: names no {"folder" if kind in OF_FOLDERS else "data"}; write {form}')
        if kind == 'datasets':
            _named(source, lambda place, _: HubName.of(place), place, None)
        return
    near = difflib.get_close_matches(kind.lower(), ('digits', *NAMED), n=1)
    remedy = f'did you mean {near[0]!r}? ' if near else ''
    raise DataError(f'data {source!r}: is not a source; {remedy}allowed: {", ".join(FORMS)}')


def names_code(source: str) -> bool:
    """Whether a source is a function in user code."""
    return _name(source).is_one and source.partition(':')[0] not in NAMED


def missing_place(source: str) -> str:
    """Return what is not there of the folder, shards or package that a source needs, and the remedy; empty if it is."""
    kind, colon, place = source.partition(':')
    if not colon or not place:
        return ''
    try:
        if kind == 'webdataset':
            find_shards(place)
        elif kind == 'datasets':
            check_datasets()
    except (DataError, MissingExtraError) as error:
        return str(error)
    if kind in OF_FOLDERS and not Path(place).is_dir():
        what = 'is a file; name a folder' if Path(place).exists() else 'is not there'
        return f'{place} {what}; check the path, it counts from {Path.cwd()}'
    return ''


def absolute_source(source: str) -> str:
    """Return a source with an absolute path, if it names a path behind a colon."""
    kind, _, place = source.partition(':')
    if kind == 'datasets':
        name = HubName.of(place)
        return f'datasets:{replace(name, name=str(absolute_path(name.name)))}' if name.is_folder else source
    return f'{kind}:{absolute_path(place)}'


def load_data(request: DataRequest) -> Data:
    """Return the data of a source; a DataError if they do not exist, or are missing, unreadable or of another size."""
    data = _load(request)
    if request.fraction == 1:
        return data
    counts = ' and '.join(f'{len(loader.dataset):,}' for loader in (data.train, data.validate))
    return replace(data, description=f'{data.description}, of which {counts} are used')


def _load(request: DataRequest) -> Data:
    source = request.source
    check_form(source)
    kind, _, place = source.partition(':')
    if kind == 'imagefolder':
        from .image_folder import image_folder

        return _named(source, image_folder, place, request)
    if kind == 'webdataset':
        from .web_dataset import web_dataset

        return _named(source, web_dataset, place, request)
    if kind == 'datasets':
        from .hub_dataset import hub_dataset

        return _named(source, hub_dataset, place, request)
    if kind in ('cifar10', 'cifar100'):
        from .cifar import cifar

        data = _named(source, partial(cifar, kind), place, request)
    elif kind == 'celeba':
        from .celeba import celeba

        data = _named(source, celeba, place, request)
    elif kind == 'coco':
        from .coco import coco

        data = _named(source, coco, place, request)
    elif kind == 'fashion-mnist':
        from .fashion_mnist import fashion_mnist

        data = _named(source, fashion_mnist, place, request)
    elif source == 'digits':
        _refuse_variation(request)
        from .digits import digits_data

        data = digits_data(request)
    else:
        _refuse_variation(request)
        if request.fraction != 1:
            raise DataError(
                f'data {source!r}: a function gives all of its samples; --fraction and --data-fraction need others'
            )
        from .user_code import data_of_code

        data = data_of_code(_name(source), request)
    asked = request.pixels.shape if request.exact and request.pixels is not None else None
    if None not in (asked, data.shape) and data.shape != asked:
        raise DataError(
            f'data {source!r}: has inputs of shape {data.shape}, but --input says {asked}; '
            'omit --input, or resize the data'
        )
    return data


def check_outputs(data: Data, outputs: int, source: str, model: str) -> None:
    """Raise DataError if the number of a model's outputs differs from that of the classes."""
    if data.classes is not None and outputs != len(data.classes):
        raise DataError(
            f'data {source!r} has {len(data.classes)} classes, but the model {model!r} has {outputs} outputs; '
            f'give --classes {len(data.classes)} if its factory takes num_classes, or another model'
        )
    if data.labels and not 0 <= data.labels[0] <= data.labels[-1] < outputs:
        raise DataError(
            f'data {source!r} has labels from {data.labels[0]} to {data.labels[-1]} in its first batch, but the model '
            f'{model!r} has {outputs} outputs, for labels from 0 to {outputs - 1}; give --classes, or another model'
        )


def _refuse_variation(request: DataRequest) -> None:
    """Raise DataError if training pictures are to be varied, and the source has none."""
    if request.recipe.augments:
        name = request.recipe.augments[0]
        raise DataError(
            f'data {request.source!r}: training.{name} varies pictures of {", ".join(NAMED)}, and '
            'these inputs come as they are; omit it, or vary them in your own function'
        )


def _name(source: str) -> CodeName:
    return CodeName(source, 'data', DataError)


def _named(source: str, load: Callable[[str, _R], _T], place: str, request: _R) -> _T:
    """Load data; prefix errors with the name of the source."""
    try:
        return load(place, request)
    except DataError as error:
        raise DataError(f'data {source!r}: {error}') from error
