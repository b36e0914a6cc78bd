"""Pictures of a data set of Hugging Face, from a folder of this machine or from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, first_line
from .hub_name import HubName, check_datasets
from .layouts import remark_on
from .pictures import Pictures, check_labels, check_some, chosen_pixels, held_out, picture_data
from .pixels import Pixels
from .request import Data, DataRequest

__all__ = ['hub_dataset']

_VALIDATION = ('validation', 'val', 'valid', 'dev', 'test')
"""Names of splits for validation, the first that is there is taken: labels of test splits are often kept secret."""

_LABELS = ('label', 'labels', 'class', 'target')
_SAVED = ('dataset_dict.json', 'dataset_info.json', 'state.json')


def hub_dataset(place: str, request: DataRequest) -> Data:
    """Return the pictures of a data set of Hugging Face.

    Raises MissingExtraError without the package ``datasets``; DataError if the data set cannot be loaded, has no column
    of pictures or of labels, or several.
    """
    name = HubName.of(place)
    check_datasets()
    parts = _loaded(name)
    train, validate, names = _splits(parts)
    image, label = _columns(name, train)
    labels, classes = _labels(train, label)
    if validate is None:
        number = check_labels(labels)
        held = held_out(labels, request.seed, request.validation)
        validate, train = train.select(np.flatnonzero(held)), train.select(np.flatnonzero(~held))
        tests, labels = labels[held], labels[~held]
        note = f' (split by the seed {request.seed})'
    else:
        _columns(HubName(name.name, name.config, image, label), validate)
        tests, _ = _labels(validate, label, classes)
        number, note = check_labels(labels, tests), f' (splits {names[0]} and {names[1]})'
    first, second = _Samples(train, image, labels), _Samples(validate, image, tests)
    for each in (first, second):
        check_some(len(each.labels), each.picture, request.seed)
    pixels, size = chosen_pixels(request, len(labels), first.size_of)
    classes = classes or tuple(map(str, range(number)))
    return picture_data(
        request,
        pixels,
        first,
        second,
        _Pictures,
        classes=classes,
        description=f'{len(labels):,} pictures for training and {len(tests):,} for validation{note}, '
        f'{len(classes)} classes, resized to {pixels.height} x {pixels.width}{size}',
    )


def _loaded(name: HubName) -> dict[str, Any]:
    """Return the splits of a data set by name."""
    import datasets

    try:
        if name.is_folder and any((Path(name.name) / each).is_file() for each in _SAVED):
            found = datasets.load_from_disk(name.name)
        else:
            found = datasets.load_dataset(name.name, name.config)
    except Exception as error:
        remark = remark_on('datasets', Path(name.name))
        raise DataError(
            f'it cannot be loaded ({type(error).__name__}: {first_line(error, 200)}); name a folder that save_to_disk '
            f'wrote, a folder of parquet files or pictures, or a data set of the hub: NAME, or NAME,config=CONFIG.{remark}'
        ) from error
    return dict(found) if isinstance(found, datasets.DatasetDict) else {'train': found}


def _splits(parts: dict[str, Any]) -> tuple[Any, Any, tuple[str, str]]:
    """Return the splits for training and for validation, None if there is but one, and their names."""
    training = next(iter(parts)) if len(parts) == 1 else 'train'
    if training not in parts:
        raise DataError(f'it has the splits {", ".join(parts)}, but no train; name a folder that has')
    validation = next((each for each in _VALIDATION if each in parts and each != training), '')
    return parts[training], parts.get(validation), (training, validation)


def _columns(name: HubName, part: Any) -> tuple[str, str]:
    """Return the columns of pictures and of labels; a DataError that lists all columns if they are not clear."""
    import datasets

    columns = part.features
    shown = ', '.join(f'{column} ({getattr(kind, "dtype", type(kind).__name__)})' for column, kind in columns.items())
    for key, asked in (('image', name.image), ('label', name.label)):
        if asked is not None and asked not in columns:
            raise DataError(f'{key}={asked}: there is no such column; it has {shown}')
    images = [column for column, kind in columns.items() if isinstance(kind, datasets.Image)]
    labels = [column for column, kind in columns.items() if isinstance(kind, datasets.ClassLabel)]
    labels = labels or [column for column in _LABELS if _is_label(columns.get(column))]
    chosen = []
    for key, asked, found in (('image', name.image, images), ('label', name.label, labels)):
        if asked is None and len(found) != 1:
            what = f'several columns that may be the {key}' if found else f'no column of the type {_type_of(key)}'
            example = f'{name.name},{key}={(found or ["COLUMN"])[0]}'
            raise DataError(f'it has {what}: {shown}; name one: datasets:{example}')
        chosen.append(found[0] if asked is None else asked)
    image, label = chosen
    if image not in images:
        raise DataError(
            f'image={image}: holds no pictures; it has {shown}; cast it to datasets.Image() and save it again'
        )
    if not (isinstance(columns[label], datasets.ClassLabel) or _is_label(columns[label])):
        raise DataError(f'label={label}: holds neither numbers nor words; it has {shown}')
    return image, label


def _type_of(key: str) -> str:
    return 'Image' if key == 'image' else f'ClassLabel, nor numbers or words named {", ".join(_LABELS)}'


def _is_label(kind: Any) -> bool:
    """Whether a column has whole numbers or words."""
    return str(getattr(kind, 'dtype', '')).startswith(('int', 'uint', 'string', 'large_string'))


def _labels(part: Any, column: str, classes: tuple[str, ...] | None = None) -> tuple[NDArray[np.int64], Any]:
    """Return the labels as numbers, and the names of the classes, if any; words get the numbers of ``classes``."""
    values = part.select_columns([column])[:][column]
    kind = part.features[column]
    if any(value is None for value in values):
        raise DataError(f'{column}: {sum(value is None for value in values):,} of {len(values):,} labels are missing')
    if values and isinstance(values[0], str):
        classes = classes or tuple(sorted(set(values)))
        numbers = {name: number for number, name in enumerate(classes)}
        unknown = sorted(set(values) - set(numbers))
        if unknown:
            raise DataError(f'{column}: validation has classes that training lacks: {", ".join(unknown[:5])}')
        values = [numbers[value] for value in values]
        return np.array(values, dtype=np.int64), classes
    return np.array(values, dtype=np.int64), tuple(kind.names) if hasattr(kind, 'names') else None


class _Samples:
    """A split, its column of pictures, and the labels of its rows."""

    def __init__(self, part: Any, column: str, labels: NDArray[np.int64]) -> None:
        self.rows = part.select_columns([column])
        self.column, self.labels = column, labels

    def picture(self, index: int) -> Any:
        try:
            picture = self.rows[index][self.column]
            if picture is not None:
                picture.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f'the picture of row {index} cannot be read ({first_line(error)}); leave it out') from error
        if picture is None:
            raise DataError(f'row {index} has no picture in {self.column!r}; leave it out')
        return picture

    def size_of(self, index: int) -> tuple[int, int]:
        picture = self.picture(index)
        return picture.height, picture.width


class _Pictures(Pictures):
    def __init__(self, samples: _Samples, pixels: Pixels, transform: Any) -> None:
        super().__init__(pixels, transform)
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples.labels)

    def read(self, index: int) -> tuple[Any, int]:
        picture = self.samples.picture(int(index)).convert('RGB' if self.channels == 3 else 'L')
        return picture, int(self.samples.labels[index])
