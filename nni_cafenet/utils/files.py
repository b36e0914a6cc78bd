"""Crash-safe files: atomic writes and durable appends."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import FolderError
from .links import FilePath, open_nofollow, resolve_link

__all__ = [
    'LineReader',
    'absolute_path',
    'append_line',
    'atomic_writer',
    'check_not_removed',
    'is_temporary_file',
    'json_text',
    'read_jsonl',
    'remove_temporary_files',
    'write_bytes',
    'write_json',
    'write_text',
]

_logger = logging.getLogger(__name__)

_TEMPORARY = re.compile(r'\..+\.[0-9a-f]{8}\.tmp')


def absolute_path(path: FilePath) -> Path:
    """Return an absolute path with ``~`` expanded, independent of later ``os.chdir``."""
    return Path(os.path.abspath(os.path.expanduser(path)))


def write_text(path: FilePath, text: str) -> None:
    """Write a text file (UTF-8) atomically: readers see the old file or the new one.

    Missing folders are created; an existing file keeps its permissions. The text is written to ``.NAME.XXXXXXXX.tmp``
    beside it, synced, then renamed. On failure the old file is unchanged and the temporary one removed; only a killed
    process can leave one (see `remove_temporary_files`).
    """
    write_bytes(path, text.encode('utf-8'))


def write_bytes(path: FilePath, content: bytes) -> None:
    """Write bytes atomically, as `write_text` does."""
    with atomic_writer(path) as file:
        file.write(content)


def write_json(path: FilePath, obj: object) -> None:
    """Write an object as JSON atomically, as `write_text` does.

    Arrays and tensors become lists or numbers, paths become strings; NaN and infinity are written as Python's `json`
    does. Raises TypeError, and writes nothing, if part of it has no JSON form.
    """
    write_text(path, json_text(obj))


def json_text(obj: object) -> str:
    """Return an object as JSON, formatted as `write_json` does."""
    return json.dumps(obj, indent=2, ensure_ascii=False, default=_plain) + '\n'


def append_line(path: FilePath, text: str) -> None:
    """Append one line (UTF-8) to a file, created if missing, and sync it to disk; a ValueError for a line break.

    A process killed during the write can leave a partial line, which `read_jsonl` removes. The next append starts a new
    line in any case.
    """
    if '\n' in text or '\r' in text:
        raise ValueError(f'text must be a single line, without a line break; got {text!r}')
    path = resolve_link(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    try:
        with open(path, 'ab+', opener=open_nofollow) as file:
            start = b'' if _ends_a_line(file) else b'\n'
            file.write(start + text.encode('utf-8') + b'\n')
            _to_disk(file)
    except OSError as error:  # a full disk fails on write, without naming the file
        _name(error, path)
        raise
    if is_new:
        _folder_to_disk(path.parent)


def check_not_removed(path: Path) -> None:
    """Raise FolderError if a file that this run has written before is gone: what it held would be missing at the end."""
    if not path.exists():
        raise FolderError(
            f'{str(path)!r} was removed while the run was using it. Restore it and resume, or start again in another '
            'directory.'
        )


def parse_json(line: bytes) -> Any:
    """Parse a line of JSON; raises ValueError."""
    try:
        return json.loads(line.decode('utf-8'))
    except RecursionError:
        raise ValueError('it is nested too deep') from None


def read_jsonl(path: FilePath, *, parse: Callable[[bytes], Any] = parse_json) -> list[Any]:
    """Read a file of `append_line`, and repair a partial last line; ``parse`` raises ValueError for an invalid one.

    A last line without line break is completed if it is a whole object or list; else it is removed with a warning. Any
    other invalid line raises ValueError: the file was damaged, not truncated.
    """
    path = Path(path)
    content = path.read_bytes()
    lines = content.split(b'\n')
    last = lines.pop()
    objects = [_parsed(line, path, number, parse) for number, line in enumerate(lines, start=1) if line.strip()]
    if last.strip(b' \t\r'):
        try:
            obj = parse_json(last)
        except ValueError:
            obj = None
        # A truncated number is still a number; only brackets show that the value is complete.
        if isinstance(obj, (dict, list)):
            objects.append(_parsed(last, path, len(lines) + 1, parse))
            _repair(path, len(content), b'\n')
        else:
            _logger.warning('%s: dropped the partial last line, %d', path, len(lines) + 1)
            _repair(path, len(content) - len(last), b'')
    return objects


class LineReader:
    """Follows a JSON-lines file that another process appends to; it need not exist yet."""

    parse: Callable[[bytes], Any] = staticmethod(parse_json)
    """Parses a line, or raises ValueError."""

    def __init__(self, path: FilePath) -> None:
        self.path = Path(path)
        self._read = 0

    def read(self) -> list[Any]:
        """Return the objects of lines completed since the last call; partial lines of a killed writer are skipped."""
        try:
            with open(self.path, 'rb') as file:
                file.seek(self._read)
                lines = file.read().split(b'\n')
        except FileNotFoundError:
            return []
        self._read += sum(len(line) + 1 for line in lines[:-1])
        return [obj for line in lines[:-1] if line.strip() for obj in self._objects(line)]

    def _objects(self, line: bytes) -> list[Any]:
        try:
            return [self.parse(line)]
        except ValueError:
            _logger.warning('%s: skipped a partial line', self.path)
            return []


def is_temporary_file(path: FilePath) -> bool:
    """Whether a file name is that of a temporary file, perhaps left by a killed process."""
    return _TEMPORARY.fullmatch(os.path.basename(os.fspath(path))) is not None


def remove_temporary_files(folder: FilePath, before: float) -> None:
    """Remove temporary files of killed processes below a folder, if last modified before ``before`` (Unix time, s)."""
    for path in Path(folder).rglob('.*.tmp'):
        with suppress(OSError):
            if is_temporary_file(path) and not path.is_symlink() and path.stat().st_mtime < before:
                path.unlink()


@contextmanager
def atomic_writer(path: FilePath) -> Iterator[BinaryIO]:
    """Yield a temporary file that replaces ``path`` on success."""
    target = resolve_link(path)
    if target.is_dir():
        raise IsADirectoryError(f'path must name a file, but {target} is a folder')
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f'.{target.name}.{secrets.token_hex(4)}.tmp')
    try:
        with open(temporary, 'xb') as file:
            yield file
            _to_disk(file)
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException as error:  # an interrupt too
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            _name(error, target)
        raise
    _folder_to_disk(target.parent)


def _name(error: OSError, path: Path) -> None:
    """Put the file's name into an error."""
    error.filename = str(path)
    with suppress(AttributeError):
        del error.filename2  # None would be shown


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    """Sync a folder, where the system supports it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _ends_a_line(file: BinaryIO) -> bool:
    """Whether an open file is empty or ends with a line break."""
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b'\n'


def _parsed(line: bytes, path: Path, number: int, parse: Callable[[bytes], Any]) -> Any:
    try:
        return parse(line)
    except ValueError as error:
        what = 'is not JSON' if parse is parse_json else 'is damaged'
        raise ValueError(f'{path}, line {number} {what} ({error})') from error


def _repair(path: Path, size: int, end: bytes) -> None:
    """Truncate a file and append ``end``; warns if the file is read-only."""
    try:
        with open(resolve_link(path), 'rb+') as file:
            file.truncate(size)
            file.seek(size)
            file.write(end)
            _to_disk(file)
    except OSError as error:
        _logger.warning('%s: its end could not be repaired (%s)', path, error)


def _plain(value: object) -> object:
    """Convert arrays, tensors, scalars and paths for JSON."""
    to_list = getattr(value, 'tolist', None)
    if callable(to_list):
        return to_list()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f'{type(value).__name__} has no JSON form: {value!r}')
