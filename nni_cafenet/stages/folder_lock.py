"""One process does a run; another one that starts in the same folder is refused."""

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
"""Seconds after which a temporary file is that of a killed process; nothing takes that long to write."""

_TAKEN = (errno.EACCES, errno.EAGAIN)

_here: set[str] = set()
"""Folders that this process holds: a process may lock a file that it has locked."""


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep other processes from doing the run in a folder, for the length of a block; death lets go of it, too.

    Old temporary files of processes that were killed are removed.

    Parameters
    ----------
    folder
        The folder of the run, which exists. Its file ``process.json`` says who did the run last.

    Raises
    ------
    nni_cafenet.errors.FolderInUseError
        If another process does the run, or another experiment of this one.
    nni_cafenet.errors.FolderError
        If the disk is full, or the folder cannot be written to or is removed, in the block.

    Notes
    -----
    Where the file system has no locks, nothing is refused. The lock is one of POSIX (``fcntl``): forked processes do not
    inherit it, and network file systems know it.
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
            with contextlib.suppress(OSError):  # on a full disk it is held all the same
                file.truncate(0)
                since = time.strftime('%Y-%m-%d %H:%M:%S')
                file.write(json.dumps({'pid': os.getpid(), 'host': socket.gethostname(), 'since': since}).encode())
            with contextlib.suppress(OSError):
                # The time is that of the file system, whatever the clock of this machine says.
                remove_temporary_files(folder, os.stat(path).st_mtime - _OLD)
            with folder_errors(folder):
                yield
            if not _is_still(path, file):
                _logger.warning(
                    'directory=%r was removed or renamed during the run, so that files are missing in it. Bring it back, '
                    'and run again.',
                    str(folder),
                )
        finally:
            _here.discard(name)


def _is_still(path: Path, file: FileIO) -> bool:
    """Whether an open file is the one with some path."""
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
    except ValueError:  # it has just been locked
        return {}
    return record


def _in_use(folder: Path, by: dict[str, Any]) -> FolderInUseError:
    since = f', since {by["since"]}' if 'since' in by else ''
    who = f'process {by.get("pid", "?")} on {by.get("host", "?")}'
    return FolderInUseError(
        f'directory={str(folder)!r}: {who} is doing this run{since}. Wait for its end, stop it, or give another directory.'
    )
