"""Faults at the n-th file operation of a process: it is killed, its writes are torn, the power fails, the disk is full."""

from __future__ import annotations

import errno
import os
import random
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ['KINDS', 'Fault', 'Operation', 'watch']

KINDS = {
    'kill': 'SIGKILL just before the operation',
    'torn': 'SIGKILL, and the file that is being written ends somewhere in what was written',
    'power': 'SIGKILL, and all that was not flushed to the disk is lost: contents of files, names in folders',
    'full': 'the operation and all later writes raise "No space left on device"',
    'interrupt': 'SIGINT (Ctrl-C) at the operation',
    'terminate': 'SIGTERM at the operation',
}

_OPENED_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_OTHER_EVENTS = ('os.rename', 'os.remove', 'os.mkdir', 'os.rmdir', 'os.truncate', 'os.chmod', 'os.link', 'os.symlink')
_FREEING = ('os.remove', 'os.rmdir')


@dataclass(frozen=True)
class Fault:
    """
    What happens to a process, and when.

    Parameters
    ----------
    kind
        One of `KINDS`.
    at
        The operation, counted from 1 over all that change something beneath the watched folders.
    seed
        Where a file is cut, and whether names in folders are lost.
    """

    kind: str
    at: int
    seed: int = 0


@dataclass(frozen=True)
class Operation:
    """An operation that changes files: its name, and the file relative to the watched folder."""

    name: str
    path: str


@dataclass
class _Written:
    """A file with content that is not on the disk yet: its size when it was opened."""

    start: int


class _Watcher:
    """Counts the operations of this process, and brings about a fault."""

    def __init__(self, folders: Sequence[Path], fault: Fault | None) -> None:
        self._folders = [os.path.realpath(folder) for folder in folders]
        self._fault = fault
        self._random = random.Random(None if fault is None else fault.seed)
        self._busy = False
        self._unflushed: dict[str, _Written] = {}
        self._renamed: list[tuple[str, bytes | None]] = []  # targets and what they held, until their folder is flushed
        self._fsync = os.fsync
        self.operations: list[Operation] = []

    def start(self) -> None:
        """Watch from now on; there is no way back, so this is for processes of their own."""
        os.fsync = self.fsync
        sys.addaudithook(self.hook)

    # --- what is seen -----------------------------------------------------------------------------

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take what Python is about to do."""
        if self._busy or (event != 'open' and event not in _OTHER_EVENTS):
            return
        self._busy = True
        try:
            self._about_to(event, arguments)
        finally:
            self._busy = False

    def fsync(self, descriptor: int) -> None:
        """Take the place of `os.fsync`, which Python does not announce."""
        self._busy = True
        try:
            path = os.readlink(f'/proc/self/fd/{descriptor}')
            if self._inside(path):
                self._count('fsync', path)
                self._unflushed.pop(path, None)
                if os.path.isdir(path):
                    self._renamed = [each for each in self._renamed if os.path.dirname(each[0]) != path]
        finally:
            self._busy = False
        self._fsync(descriptor)

    def _about_to(self, event: str, arguments: tuple[Any, ...]) -> None:
        if isinstance(arguments[0], int):
            return
        path = _absolute(arguments[0])
        if event == 'open':
            if not arguments[2] & _OPENED_TO_WRITE or not self._inside(path):
                return
            self._count('open', path)
            truncated = arguments[2] & os.O_TRUNC or not os.path.exists(path)
            self._unflushed[path] = _Written(0 if truncated else os.path.getsize(path))
        elif event == 'os.rename':
            target = _absolute(arguments[1])
            if not self._inside(target):
                return
            self._count('rename', target)
            self._renamed.append((target, Path(target).read_bytes() if os.path.isfile(target) else None))
            if path in self._unflushed:
                self._unflushed[target] = self._unflushed.pop(path)
        elif self._inside(path):
            self._count(event.partition('.')[2], path, frees=event in _FREEING)
            if event == 'os.remove':
                self._unflushed.pop(path, None)

    def _inside(self, path: str) -> bool:
        return any(path == folder or path.startswith(folder + os.sep) for folder in self._folders)

    def _count(self, name: str, path: str, *, frees: bool = False) -> None:
        folder = next(each for each in self._folders if path == each or path.startswith(each + os.sep))
        self.operations.append(Operation(name, os.path.relpath(path, folder)))
        fault = self._fault
        if fault is None or len(self.operations) < fault.at:
            return
        if fault.kind == 'full':
            if not frees:
                self._cut(path)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        elif len(self.operations) == fault.at:
            self._end(fault.kind, path)

    # --- what happens -----------------------------------------------------------------------------

    def _end(self, kind: str, path: str) -> None:
        if kind == 'torn':
            self._cut(path)
        elif kind == 'power':
            self._lose()
        signals = {'interrupt': signal.SIGINT, 'terminate': signal.SIGTERM}
        os.kill(os.getpid(), signals.get(kind, signal.SIGKILL))

    def _cut(self, path: str) -> None:
        """Let a file end somewhere in what was written since it was opened."""
        written = self._unflushed.get(path)
        if written is not None and os.path.isfile(path):
            size = os.path.getsize(path)
            os.truncate(path, self._random.randint(min(written.start, size), size))

    def _lose(self) -> None:
        """Lose what was not flushed: contents always, names in folders or none of them."""
        for path in self._unflushed:
            self._cut(path)
        if self._random.random() < 0.5:
            for target, content in reversed(self._renamed):
                if content is not None:
                    Path(target).write_bytes(content)
                elif os.path.isfile(target):
                    os.unlink(target)


def watch(folders: Sequence[Path], fault: Fault | None = None) -> Callable[[], list[Operation]]:
    """
    Watch the operations that change files beneath some folders, for as long as this process lives.

    Parameters
    ----------
    folders
        The folders; they need not be there yet.
    fault
        What shall happen.

    Returns
    -------
    A function that returns the operations so far.
    """
    watcher = _Watcher(folders, fault)
    watcher.start()
    return lambda: list(watcher.operations)


def _absolute(path: Any) -> str:
    folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
    return os.path.join(os.path.realpath(folder), name)
