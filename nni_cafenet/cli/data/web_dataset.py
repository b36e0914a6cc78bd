"""Pictures in the tar files of WebDataset, read by the standard library; every sample can be read at any time."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

from .image_files import image_size, open_image
from .pictures import Pictures, check_labels, check_some, chosen_pixels, held_out, picture_data
from .pixels import Pixels
from .request import Data, DataRequest
from .shards import find_shards, split_shards
from .tar_samples import TarSamples

__all__ = ['web_dataset']


def web_dataset(place: str, request: DataRequest) -> Data:
    """Return the pictures of shards: a folder of tar files, or a pattern.

    Raises DataError if shards are missing or damaged, or samples have no picture or no label.
    """
    shards = find_shards(place)
    training, validation = split_shards(shards)
    train, note = TarSamples.of(training), ''
    if validation:
        validate = TarSamples.of(validation)
        number = check_labels(train.labels, validate.labels)
    else:
        number = check_labels(train.labels)
        held = held_out(train.labels, request.seed, request.validation)
        train, validate, note = train.where(~held), train.where(held), f' (split by the seed {request.seed})'
    for part in (train, validate):
        check_some(len(part), partial(_open, part, 3), request.seed)
    pixels, size = chosen_pixels(request, len(train), lambda index: image_size(io.BytesIO(train.read(index))))
    return picture_data(
        request,
        pixels,
        train,
        validate,
        _Pictures,
        classes=tuple(map(str, range(number))),
        description=f'{len(train):,} pictures for training and {len(validate):,} for validation{note} in '
        f'{len(shards):,} shards, {number} classes, resized to {pixels.height} x {pixels.width}{size}',
    )


def _open(samples: TarSamples, channels: int, index: int) -> Any:
    return open_image(io.BytesIO(samples.read(index)), channels, samples.title(index))


class _Pictures(Pictures):
    def __init__(self, samples: TarSamples, pixels: Pixels, transform: Any) -> None:
        super().__init__(pixels, transform)
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int) -> tuple[Any, int]:
        return _open(self.samples, self.channels, index), int(self.samples.labels[index])
