"""Pictures with classes, wherever they are kept: their size, a split by the seed, and loaders of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ...errors import DataError
from .pixels import Pixels
from .request import Data, DataRequest
from .transforms import evaluation_transform, training_transform

__all__ = ['Pictures', 'check_labels', 'check_some', 'chosen_pixels', 'held_out', 'picture_data']

_P = TypeVar('_P')

_CROP = 0.5
_LOOKED_AT = 64
"""Pictures whose size is looked at."""


class Pictures(Dataset[Any], ABC):
    """Pictures and class indices; `plain` has those of training as they are, for scores."""

    plain: Pictures

    def __init__(self, pixels: Pixels, transform: Any) -> None:
        self.channels = pixels.channels
        self.transform = transform

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of pictures."""

    @abstractmethod
    def read(self, index: int) -> tuple[Any, int]:
        """Return a picture of Pillow's in `channels`, and its class; a DataError if it cannot be read."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        picture, number = self.read(index)
        return self.transform(picture), number


def picture_data(
    request: DataRequest,
    pixels: Pixels,
    train: _P,
    validate: _P,
    make: Callable[[_P, Pixels, Any], Pictures],
    *,
    classes: tuple[str, ...],
    description: str,
) -> Data:
    """Return loaders of two parts; ``make`` makes a data set of a part that applies a transform."""
    plain = evaluation_transform(pixels)
    varied = make(train, pixels, training_transform(pixels, request.recipe, crop=_CROP))
    varied.plain = make(train, pixels, plain)
    return Data(
        train=request.loader(varied, train=True),
        validate=request.loader(make(validate, pixels, plain), train=False),
        shape=pixels.shape,
        classes=classes,
        description=description,
    )


def chosen_pixels(request: DataRequest, count: int, size_of: Callable[[int], tuple[int, int]]) -> tuple[Pixels, str]:
    """Return the size that pictures get, and a note if it is that of the pictures themselves, or they are enlarged.

    It is their own if the size that the model was made for is unknown or larger, and neither was a size given nor are
    there weights that were trained on another one. ``size_of`` returns height and width of a picture.
    """
    given = request.pixels
    height, width = (int(np.median(sides)) for sides in zip(*(size_of(index) for index in _some(count, request.seed))))
    if given is not None and (request.exact or request.trained):
        return given, given.enlarged_from(height, width)
    side = min(height, width)
    if given is not None and side >= min(given.height, given.width):
        return given, ''
    made = '' if given is None else f'; the model was made for {given.height} x {given.width}'
    note = f' (the size of the pictures{made}; --input gives another)'
    return Pixels.of((3, side, side)) if given is None else given.resized(side, side), note


def held_out(labels: NDArray[np.int64], seed: int, share: float) -> NDArray[np.bool_]:
    """Return which samples of a data set are for validation: a share of every class, drawn by the seed.

    Training gets at least one sample of a class, then validation. A DataError if none is left for validation.
    """
    held = np.zeros(len(labels), dtype=bool)
    order = np.argsort(labels, kind='stable')
    numbers, starts = np.unique(labels[order], return_index=True)
    for number, members in zip(numbers.tolist(), np.split(order, starts[1:])):
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held[members[np.random.default_rng([seed, number]).permutation(len(members))[:count]]] = True
    if not held.any():
        raise DataError('there is one picture per class, so none is left for validation; add more')
    return held


def check_labels(*parts: NDArray[np.int64]) -> int:
    """Return the number of classes of the labels of all parts; a DataError if they do not count from 0."""
    for labels in parts:
        if not len(labels):
            raise DataError('a part of it has no picture')
        if labels.min() < 0:
            raise DataError(
                f'{(labels < 0).sum():,} of {len(labels):,} labels are negative, such as {labels.min()}: pictures '
                'without a label; leave them out'
            )
    classes, pictures = int(max(labels.max() for labels in parts)) + 1, sum(map(len, parts))
    if classes < 2:
        raise DataError('all labels are 0; there must be two classes or more')
    if classes > pictures:
        raise DataError(
            f'labels go up to {classes - 1:,} with {pictures:,} pictures; they must be numbers from 0 to the number of '
            'classes - 1'
        )
    return classes


def check_some(count: int, read: Callable[[int], Any], seed: int) -> None:
    """Read some pictures, so that the errors of a data set of which none can be read come first."""
    for index in _some(count, seed):
        read(index)


def _some(count: int, seed: int) -> list[int]:
    chosen: list[int] = np.random.default_rng([seed, 3]).permutation(count)[:_LOOKED_AT].tolist()
    return chosen
