"""Links in the folders of runs: nothing is written through one that leads into another folder."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import FolderError

__all__ = ['child_path', 'open_nofollow', 'resolve_link']

_PathLike = str | os.PathLike[str]


def resolve_link(path: _PathLike) -> Path:
    """
    Return the file that is written: a path itself, or what a link points to in the same folder.

    Raises
    ------
    nni_cafenet.errors.FolderError
        If it is a link into another folder. Nothing is written through those.
    """
    path = Path(path)
    if not path.is_symlink():
        return path
    real = Path(os.path.realpath(path))
    if real.parent != Path(os.path.realpath(path.parent)):
        raise FolderError(
            f'{path} is a link to {real}, in another folder, and nothing is written through it. Remove the link, or name '
            'that file itself.'
        )
    return real


def child_path(folder: _PathLike, *parts: str) -> Path:
    """
    Return a path below a folder.

    Raises
    ------
    nni_cafenet.errors.FolderError
        If a part is no plain name, or a link leads out of the folder.
    """
    path = Path(folder, *parts)
    plain = all(part not in ('', '.', '..') and not set(part) & {'/', '\\', '\0'} for part in parts)
    if not plain or Path(os.path.realpath(folder)) not in Path(os.path.realpath(path)).parents:
        raise FolderError(
            f'{str(path)!r} leads out of the folder {str(folder)!r}, and nothing is written there. '
            'Remove what leads there.'
        )
    return path


def open_nofollow(path: str, flags: int) -> int:
    """Open a file, as `open` calls its ``opener``, unless its name is a link."""
    return os.open(path, flags | getattr(os, 'O_NOFOLLOW', 0), 0o666)
