"""An exclusive lock on the folder of a run."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

from ..errors import FolderInUseError
from ..utils import remove_temporary_files, resolve_link
from .folder_errors import folder_errors

fcntl: Any = None
with contextlib.suppress(ImportError):  # on Windows
    import fcntl

__all__ = ['locked_folder']

_logger = logging.getLogger(__name__)

_OLD = 3600.0
"""Age in seconds beyond which a temporary file counts as left behind by a killed process."""

_TAKEN = (errno.EACCES, errno.EAGAIN)

_here: set[str] = set()
"""Lock files held by this process; POSIX locks do not exclude their own process."""


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Lock the folder of a run for a block, and remove old temporary files from it.

    Its ``process.json`` names the last process that held the lock. Raises `FolderInUseError` if another process, or
    another experiment in this one, holds it. The lock is a POSIX one (``fcntl``): it ends with the process, forks do
    not inherit it, and network file systems support it. Elsewhere (Windows) nothing is locked.
    """
    path = folder / 'process.json'
    name = os.path.realpath(path)
    if name in _here:
        raise _in_use(folder, {'pid': os.getpid(), 'host': socket.gethostname()})
    with open(resolve_link(path), 'ab+', buffering=0) as file:
        if not _lock(file):
            file.seek(0)
            raise _in_use(folder, _parsed(file.read()))
        _here.add(name)
        try:
            with contextlib.suppress(OSError):  # the lock also holds on a full disk
                file.truncate(0)
                since = time.strftime('%Y-%m-%d %H:%M:%S')
                file.write(json.dumps({'pid': os.getpid(), 'host': socket.gethostname(), 'since': since}).encode())
            with contextlib.suppress(OSError):
                # Use the clock of the file system, which may be another machine's.
                remove_temporary_files(folder, os.stat(path).st_mtime - _OLD)
            with folder_errors(folder):
                yield
            if not _is_still(path, file):
                _logger.warning(
                    'directory=%r was removed or renamed during the run, so files are missing. Restore it and run again.',
                    str(folder),
                )
        finally:
            _here.discard(name)


def _is_still(path: Path, file: FileIO) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except OSError:
        return False


def _lock(file: FileIO) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        _logger.debug('%s cannot be locked: %s', file.name, error)
    return True


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(text)
    except ValueError:  # not yet written by the new holder
        return {}
    return record


def _in_use(folder: Path, by: dict[str, Any]) -> FolderInUseError:
    since = f', since {by["since"]}' if 'since' in by else ''
    who = f'process {by.get("pid", "?")} on {by.get("host", "?")}'
    return FolderInUseError(
        f'directory={str(folder)!r} is in use by {who}{since}. Wait for that run to end, stop it, or give another '
        'directory.'
    )
