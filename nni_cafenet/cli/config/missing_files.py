"""Files and folders named by options that do not exist; found before torch is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ..data import OF_FOLDERS
from .configuration import Given

__all__ = ['list_missing_files']

_OF_WEIGHTS = ('.pt', '.pth', '.ckpt', '.bin', '.safetensors')
_CODE = ('model.name', 'data.source', 'training.loss', 'training.metric')


def list_missing_files(given: Mapping[str, Given]) -> list[str]:
    """Return the missing ones, one line each."""
    return list(_missing({path: each for path, each in given.items() if isinstance(each.value, str)}))


def _missing(given: Mapping[str, Given]) -> Iterator[str]:
    for path in (each for each in _CODE if each in given):
        place, colon, _ = given[path].value.rpartition(':')
        if colon and place.endswith('.py') and not Path(place).is_file():
            yield _line(given[path], f'there is no file {place}')
    data = given.get('data.source')
    if data is not None:
        kind, colon, place = data.value.partition(':')
        if colon and place and kind in OF_FOLDERS and not Path(place).is_dir():
            what = 'is a file; name a folder' if Path(place).exists() else 'is not there'
            yield _line(data, f'{place} {what}')
    weights = given.get('model.weights')
    if weights is not None and not Path(weights.value).is_file():
        named = weights.value.isidentifier()  # torchvision's weights, such as DEFAULT
        if Path(weights.value).is_dir():
            yield _line(weights, 'is a folder; name a file')
        elif not named or weights.value.endswith(_OF_WEIGHTS):
            yield _line(weights, 'the file is not there')


def _line(given: Given, what: str) -> str:
    return f'{given.where}: {given.value}: {what}; check the path, it counts from {Path.cwd()}'
