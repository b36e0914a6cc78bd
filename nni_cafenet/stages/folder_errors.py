"""File system errors during a run, re-raised with folder, reason and remedy."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import FolderError, first_line

__all__ = ['folder_errors']

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)


@contextlib.contextmanager
def folder_errors(folder: Path) -> Iterator[None]:
    """Re-raise file system errors of a block as `FolderError`, with the folder and the remedy."""
    try:
        yield
    except FolderError:
        raise
    except Exception as error:
        found = _of_the_system(error)
        remedy = None if found is None else _remedy(found, folder)
        if remedy is None:
            raise
        raise FolderError(
            f'directory={str(folder)!r}: the run stopped because a file could not be written or read '
            f'({first_line(found or error)}). {remedy}'
        ) from error


def _of_the_system(error: BaseException) -> OSError | None:
    """Return the OSError behind an exception; torch.save and Lightning may wrap it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    cause = error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _remedy(error: OSError, folder: Path) -> str | None:
    if error.errno in _FULL:
        return 'Free disk space, then run again with the same directory to resume.'
    if not isinstance(error.filename, (str, os.PathLike)) or not _beneath(Path(error.filename), folder):
        return None
    if error.errno in _REFUSED:
        return 'Give this user write access, then run again with the same directory to resume.'
    if error.errno in _GONE and not folder.exists():
        return 'The folder was removed or renamed during the run. Restore it to resume, or start a new run.'
    return None


def _beneath(path: Path, folder: Path) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(folder))
