"""CIFAR-10 and CIFAR-100 from torchvision's files."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

from ...errors import DataError, first_line
from .layouts import found_instead, layout_of
from .pixels import Pixels
from .request import Data, DataRequest
from .transforms import evaluation_transform, training_transform

__all__ = ['cifar']

_NAMES = {'cifar10': 'CIFAR-10', 'cifar100': 'CIFAR-100'}
_STATISTICS = {
    'cifar10': ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    'cifar100': ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
_SIZE = 32
_ARRAYS = {
    *((f'numpy.{core}.multiarray', '_reconstruct') for core in ('core', '_core')),
    ('numpy', 'ndarray'),
    ('numpy', 'dtype'),
    ('_codecs', 'encode'),
}
"""All that the pickled batches name; anything else would be code that runs."""


def cifar(kind: str, place: str, request: DataRequest) -> Data:
    """Return CIFAR-10 or CIFAR-100 from a folder, without downloading; raise `DataError` if files are missing."""
    dataset = _dataset(kind)
    folder = Path(place)
    if folder.name == dataset.base_folder:
        folder = folder.parent
    _check_files(kind, folder, dataset)
    try:
        train, test = (dataset(str(folder), train=part, download=False) for part in (True, False))
    except (RuntimeError, OSError, ValueError, KeyError, EOFError) as error:
        raise _missing(kind, folder, dataset, f'is damaged ({first_line(error, 60)})') from error
    shape = request.pixels.shape if request.pixels is not None and request.exact else (3, _SIZE, _SIZE)
    pixels = Pixels(*shape, round(min(shape[1:])), *_statistics(kind, shape))
    train.__class__ = test.__class__ = dataset.__base__  # torchvision's own, which worker processes can import
    train.plain = copy.copy(train)
    train.plain.transform = test.transform = evaluation_transform(pixels, whole=True)
    train.transform = training_transform(pixels, request.recipe, crop=(_SIZE, _SIZE))
    return Data(
        train=request.loader(train, train=True),
        validate=request.loader(test, train=False),
        shape=shape,
        classes=tuple(train.classes),
        description=f'{len(train):,} pictures of {_NAMES[kind]} for training and {len(test):,} for validation, '
        f'{shape[1]} x {shape[2]}{pixels.enlarged_from(_SIZE, _SIZE)}',
    )


def _dataset(kind: str) -> Any:
    """Return torchvision's class, without its checksums: a part of the data in the same format will do."""
    from torchvision import datasets

    base: Any = {'cifar10': datasets.CIFAR10, 'cifar100': datasets.CIFAR100}[kind]

    class Files(base):  # type: ignore[misc]
        train_list = [[name, None] for name, _ in base.train_list]
        test_list = [[name, None] for name, _ in base.test_list]
        meta = {**base.meta, 'md5': None}

    Files.__name__ = Files.__qualname__ = base.__name__
    return Files


def _check_files(kind: str, folder: Path, dataset: Any) -> None:
    """Raise DataError if a file is missing, damaged, or names code."""
    files = [name for name, _ in (*dataset.train_list, *dataset.test_list)]
    for name in [*files, dataset.meta['filename']]:
        path = folder / dataset.base_folder / name
        if not path.is_file():
            raise _missing(kind, folder, dataset, found_instead(kind, folder))
        try:
            _Arrays(io.BytesIO(path.read_bytes()), encoding='latin1').load()
        except (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, OSError) as error:
            raise DataError(f'{path} is damaged, or not a file of {_NAMES[kind]} ({first_line(error, 80)})') from error


class _Arrays(pickle.Unpickler):
    """Reads arrays, numbers and texts, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f'it names {module}.{name}, which would run')
        return super().find_class(module, name)


def _missing(kind: str, folder: Path, dataset: Any, instead: str) -> DataError:
    name = dataset.__name__
    return DataError(
        f'{folder} does not contain {_NAMES[kind]}: it {instead}. It needs\n{layout_of(kind, folder)}\n'
        f'To download it (170 MB): python -c "import torchvision; torchvision.datasets.{name}({str(folder)!r}, '
        'download=True)"'
    )


def _statistics(kind: str, shape: tuple[int, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return _STATISTICS[kind] if shape[0] == 3 else ((0.5,), (0.5,))
