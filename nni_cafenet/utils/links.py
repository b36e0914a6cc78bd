"""Symbolic links in run folders: nothing is written through a link to another folder."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import FolderError

__all__ = ['FilePath', 'child_path', 'open_nofollow', 'resolve_link']
FilePath = str | os.PathLike[str]


def resolve_link(path: FilePath) -> Path:
    """Return the path, or the target of a link within its folder; raises `FolderError` for other links."""
    path = Path(path)
    if not path.is_symlink():
        return path
    real = Path(os.path.realpath(path))
    if real.parent != Path(os.path.realpath(path.parent)):
        raise FolderError(
            f'{path} is a link to {real}, in another folder, and nothing is written through it. Remove the link, or pass '
            'the target itself.'
        )
    return real


def child_path(folder: FilePath, *parts: str) -> Path:
    """Return a path below a folder; raises `FolderError` if a part is not a plain name or a link leaves the folder."""
    path = Path(folder, *parts)
    plain = all(part not in ('', '.', '..') and not set(part) & {'/', '\\', '\0'} for part in parts)
    if not plain or Path(os.path.realpath(folder)) not in Path(os.path.realpath(path)).parents:
        raise FolderError(
            f'{str(path)!r} leads out of the folder {str(folder)!r}, and nothing is written there. Remove the link.'
        )
    return path


def open_nofollow(path: str, flags: int) -> int:
    """An ``opener`` for `open` that refuses links."""
    return os.open(path, flags | getattr(os, 'O_NOFOLLOW', 0), 0o666)
