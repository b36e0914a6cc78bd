"""A copy of a finished run in a new folder: the same supernet and scores, for another question."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import FolderError, first_line
from .resume_check import check_supernet

__all__ = ['check_source', 'copy_run']

_FILES = (
    *('supernet.json', 'supernet.ckpt', 'initial.pt', 'setup.json', 'curves.jsonl', 'uniform_loss.jsonl'),
    *(
        'history*.jsonl',
        'searched.json',
        'speed.json',
        'latency*.json*',
        'finalists.json',
        'finalists',
        'short_trainings',
        'search',
    ),
)
_LAST = 'run.json'
"""Written last: a folder without it holds no run."""

_REPLACED = ('.ckpt', '.pt')
"""Large files, which are replaced as a whole and never written to: copies may share their contents."""


def check_source(source: Path) -> None:
    """Raise FolderError unless a folder holds a run whose supernet is trained."""
    if not (source / _LAST).is_file():
        what = 'is not there' if not source.is_dir() else 'holds no run'
        raise FolderError(f'supernet_from={str(source)!r}: the folder {what}. Give the directory of a finished run.')
    if not ((source / 'supernet.json').is_file() and (source / 'supernet.ckpt').is_file()):
        raise FolderError(
            f'supernet_from={str(source)!r}: its supernet is not trained to the end. Resume that run first.'
        )


def copy_run(source: Path, directory: Path, supernet: Mapping[str, Any]) -> None:
    """Copy supernet, scores and trained networks into the folder of a run that has not begun; the source is unchanged.

    ``supernet`` is the fingerprint of what the new run would train: another one than the source's raises `ResumeError`.
    """
    check_source(source)
    if source.resolve() == directory.resolve():
        raise FolderError(f'supernet_from={str(source)!r} is the directory of the run itself. Give another directory.')
    check_supernet(source / _LAST, supernet)
    if (directory / _LAST).exists():  # it resumes
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path in sorted(path for pattern in _FILES for path in source.glob(pattern)):
            if path.is_dir():
                shutil.copytree(path, directory / path.name, copy_function=_copy, dirs_exist_ok=True)
            else:
                _copy(path, directory / path.name)
        _copy(source / _LAST, directory / _LAST)
    except OSError as error:
        raise FolderError(
            f'directory={str(directory)!r}: the run in {source} cannot be copied there ({first_line(error)}). Give '
            'another directory, or free disk space.'
        ) from error


def _copy(source: str | Path, target: str | Path) -> str | Path:
    """Copy a file, or link to it if it is large and never written to."""
    Path(target).unlink(missing_ok=True)
    if Path(source).suffix in _REPLACED:
        try:
            os.link(source, target)
        except OSError:  # another file system, or one without links
            shutil.copy2(source, target)
    else:
        shutil.copy2(source, target)
    return target
