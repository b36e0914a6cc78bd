"""Files, folders and modules named by options that do not exist, and outputs in the way; found before torch is imported."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...utils import is_temporary_file
from ..data import missing_place, names_code
from .configuration import Given

__all__ = ['list_missing_files', 'list_outputs_in_the_way', 'output_in_the_way']

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
        elif colon and _no_module(path, given[path].value, place):
            where, value = given[path].where, given[path].value
            yield f'{where}: {value}: there is no module {place!r}; install it, or start in its folder'
    data = given.get('data.source')
    if data is not None and (what := missing_place(data.value)):
        yield f'{data.where}: {data.value}: {what}'
    weights = given.get('model.weights')
    if weights is not None and not Path(weights.value).is_file():
        named = weights.value.isidentifier()  # torchvision's weights, such as DEFAULT
        if Path(weights.value).is_dir():
            yield _line(weights, 'is a folder; name a file')
        elif not named or weights.value.endswith(_OF_WEIGHTS):
            yield _line(weights, 'the file is not there')


def _no_module(path: str, spec: str, place: str) -> bool:
    top = place.partition('.')[0]
    if not top.isidentifier() or place.endswith('.py') or (path == 'data.source' and not names_code(spec)):
        return False
    return not (Path(top).exists() or Path(f'{top}.py').exists() or importlib.util.find_spec(top) is not None)


def list_outputs_in_the_way(given: Mapping[str, Given]) -> list[str]:
    """Return a line if the output folder is a file, or holds something else than a run."""
    output = given.get('output')
    if output is None or not isinstance(output.value, str):
        return []
    what = output_in_the_way(Path(output.value))
    return [f'{output.where}: {output.value}: {what}'] if what else []


def output_in_the_way(path: Path) -> str:
    """Return why a path cannot be an output folder (a file, other contents than a run), and the remedy; empty if it can."""
    if path.exists() and not path.is_dir():
        return 'is a file; name a folder'
    if not path.is_dir() or (path / 'job.json').is_file():
        return ''
    found = sorted(each.name for each in path.iterdir() if not is_temporary_file(each))
    if not found:
        return ''
    return f'is not empty ({", ".join(found[:3])}, ...) and has no run of nni-cafenet; give a new folder, or empty it'


def _line(given: Given, what: str) -> str:
    return f'{given.where}: {given.value}: {what}; check the path, it counts from {Path.cwd()}'
