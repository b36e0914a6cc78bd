"""Files that survive a crash: written whole or not at all, and lines that are on the disk once appended."""

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

from .links import open_nofollow, resolve_link

__all__ = [
    'LineReader',
    'absolute_path',
    'append_line',
    'atomic_writer',
    'is_temporary_file',
    'json_text',
    'read_jsonl',
    'remove_temporary_files',
    'write_bytes',
    'write_json',
    'write_text',
]

_logger = logging.getLogger(__name__)

_PathLike = str | os.PathLike[str]

_TEMPORARY = re.compile(r'\..+\.[0-9a-f]{8}\.tmp')


def absolute_path(path: _PathLike) -> Path:
    """Return a path from the root on, with ``~`` for the user's folder: later it does not follow ``os.chdir``."""
    return Path(os.path.abspath(os.path.expanduser(path)))


def write_text(path: _PathLike, text: str) -> None:
    """
    Write a text file (UTF-8) whole: a reader sees the old file or the new one, never a part.

    Parameters
    ----------
    path
        The file. Missing folders are made; a file that is there keeps its permissions.
    text
        What it shall hold, written as it is.

    Notes
    -----
    The text goes to a temporary file beside `path` (`.NAME.XXXXXXXX.tmp`), to the disk, then takes the
    name. If that fails, the old file is as it was and the temporary one is gone; only a killed process
    can leave one (see `remove_leftovers`).
    """
    write_bytes(path, text.encode('utf-8'))


def write_bytes(path: _PathLike, content: bytes) -> None:
    """
    Write a file whole, as by `write_text`.

    Parameters
    ----------
    path
        The file.
    content
        What it shall hold.
    """
    with atomic_writer(path) as file:
        file.write(content)


def write_json(path: _PathLike, obj: object) -> None:
    """
    Write an object as a JSON file, whole as by `write_text`.

    Parameters
    ----------
    path
        The file.
    obj
        Plain values, in the order they have; arrays and tensors become lists and their scalars numbers, paths
        become strings. NaN and infinity are written as Python's `json` writes and reads them.

    Raises
    ------
    TypeError
        If something in it has no JSON form. Nothing is written then.
    """
    write_text(path, json_text(obj))


def json_text(obj: object) -> str:
    """Return an object as `write_json` writes it."""
    return json.dumps(obj, indent=2, ensure_ascii=False, default=_plain) + '\n'


def append_line(path: _PathLike, text: str) -> None:
    """
    Append one line (UTF-8) to a file; it is on the disk when this returns.

    Parameters
    ----------
    path
        The file; it and its folders are made if missing.
    text
        The line without its end.

    Raises
    ------
    ValueError
        If the text has a line break in it.

    Notes
    -----
    A process that is killed here can leave the beginning of a line. `read_jsonl` removes it; without that,
    the next line still starts on its own.
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
    except OSError as error:  # a full disk shows when bytes are written, without the name of the file
        _name(error, path)
        raise
    if is_new:
        _folder_to_disk(path.parent)


def parse_json(line: bytes) -> Any:
    """Return what a line of JSON holds; a ValueError if it is none."""
    try:
        return json.loads(line.decode('utf-8'))
    except RecursionError:
        raise ValueError('it is nested too deep') from None


def read_jsonl(path: _PathLike, *, parse: Callable[[bytes], Any] = parse_json) -> list[Any]:
    """
    Read a file of JSON lines, and repair what a crash left at its end.

    Parameters
    ----------
    path
        The file, as `append_line` writes it.
    parse
        Makes an object of a line, or raises a ValueError.

    Returns
    -------
    list
        One object a line, in order; blank lines are skipped.

    Raises
    ------
    ValueError
        If a line other than an unfinished last one is no JSON: the file was damaged, not cut short.

    Notes
    -----
    An unfinished last line (no line break at its end, and no whole object or list) is dropped with a warning
    and cut off the file; a whole one gets its line break. Later appends are then clean.
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
        # A number cut short is still a number; only brackets show that nothing is missing.
        if isinstance(obj, (dict, list)):
            objects.append(_parsed(last, path, len(lines) + 1, parse))
            _repair(path, len(content), b'\n')
        else:
            _logger.warning('%s: dropped its unfinished last line, %d', path, len(lines) + 1)
            _repair(path, len(content) - len(last), b'')
    return objects


class LineReader:
    """
    Reads JSON lines that another process appends, as they come.

    Parameters
    ----------
    path
        The file, as `append_line` writes it; it need not be there yet.
    """

    parse: Callable[[bytes], Any] = staticmethod(parse_json)
    """Makes an object of a line, or raises a ValueError."""

    def __init__(self, path: _PathLike) -> None:
        self.path = Path(path)
        self._read = 0

    def read(self) -> list[Any]:
        """
        Return the objects of the lines that have been finished since the last call.

        Notes
        -----
        What is left of a line that its writer was killed at is passed over with a warning.
        """
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
            _logger.warning('%s: passed over an unfinished line', self.path)
            return []


def is_temporary_file(path: _PathLike) -> bool:
    """Return whether a file is a temporary one, by its name: a process that was killed may have left it."""
    return _TEMPORARY.fullmatch(os.path.basename(os.fspath(path))) is not None


def remove_temporary_files(folder: _PathLike, before: float) -> None:
    """
    Remove the temporary files that killed processes have left in a folder and those below it.

    Parameters
    ----------
    folder
        The folder.
    before
        Files that were changed last before this time, in seconds as `os.stat` gives them, are removed: other processes
        may be writing later ones.
    """
    for path in Path(folder).rglob('.*.tmp'):
        with suppress(OSError):
            if is_temporary_file(path) and not path.is_symlink() and path.stat().st_mtime < before:
                path.unlink()


@contextmanager
def atomic_writer(path: _PathLike) -> Iterator[BinaryIO]:
    """A temporary file to write into; it takes the place of `path` at the end, if nothing was raised."""
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
    """Let an error say which file could not be written."""
    error.filename = str(path)
    with suppress(AttributeError):
        del error.filename2  # None would be shown


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    """Make a new name in a folder last, where the system can."""
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
        what = 'is no JSON' if parse is parse_json else 'is damaged'
        raise ValueError(f'{path}, line {number} {what} ({error})') from error


def _repair(path: Path, size: int, end: bytes) -> None:
    """Cut a file to a size and end it; a file that may only be read stays as it is."""
    try:
        with open(resolve_link(path), 'rb+') as file:
            file.truncate(size)
            file.seek(size)
            file.write(end)
            _to_disk(file)
    except OSError as error:
        _logger.warning('%s: its end could not be repaired (%s)', path, error)


def _plain(value: object) -> object:
    """What JSON has no word for: arrays, tensors and their scalars, and paths."""
    to_list = getattr(value, 'tolist', None)
    if callable(to_list):
        return to_list()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f'{type(value).__name__} has no JSON form: {value!r}')
