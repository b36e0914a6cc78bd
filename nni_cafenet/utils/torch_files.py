"""``torch.save`` archives with a checksum in the zip comment; torch itself does not verify its archives."""

from __future__ import annotations

import hashlib
import os
import pickle
from typing import Any, BinaryIO

from ..errors import first_line
from .files import atomic_writer
from .json_records import damaged_file
from .links import FilePath

__all__ = ['check_not_truncated', 'load_torch', 'save_torch']

_MARK = b'nni_cafenet sha256 '
_LENGTH = len(_MARK) + 64
_BLOCK = 1 << 22


def save_torch(obj: object, path: FilePath) -> None:
    """Save with ``torch.save`` atomically, as `write_text` does, with a checksum, which `load_torch` verifies."""
    import torch

    with atomic_writer(path) as file:
        torch.save(obj, file)
        file.flush()
        with open(file.name, 'rb') as written:
            checksum = _checksum(written, os.path.getsize(file.name) - 2)
        file.seek(-2, os.SEEK_END)  # the length of the comment, which ends the archive
        file.write(_LENGTH.to_bytes(2, 'little') + _MARK + checksum)


def load_torch(path: FilePath, *, remedy: str, **options: Any) -> Any:
    """Load tensors and plain values that `save_torch` wrote, onto the CPU. No code from the file runs.

    ``options`` are those of ``torch.load``, such as ``mmap=True``. Raises FileNotFoundError, or `DamagedFileError` with
    a remedy, as in `read_record`.
    """
    import torch

    check_not_truncated(path, remedy=remedy)
    with open(path, 'rb') as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size - 64)
        stored = file.read()
        file.seek(0)
        if _checksum(file, size - _LENGTH - 2) != stored:
            raise damaged_file(path, 'its checksum does not match its content', remedy)
    try:
        return torch.load(path, map_location='cpu', weights_only=True, **options)
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, pickle.UnpicklingError) as error:
        raise damaged_file(path, first_line(error, 120), remedy) from error


def check_not_truncated(path: FilePath, *, remedy: str) -> None:
    """Raise `DamagedFileError` for a truncated file or one not written by `save_torch`; reads only its end."""
    with open(path, 'rb') as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LENGTH - 22))
        end = file.read()
    expected = _LENGTH.to_bytes(2, 'little') + _MARK
    if end[:4] == b'PK\5\6' and end[20 : 20 + len(expected)] == expected:
        return
    if end[-22:-18] == b'PK\5\6':
        raise damaged_file(path, 'it has no checksum: another program wrote it, or another version of this one', remedy)
    raise damaged_file(path, f'its end is missing; it has {size} bytes', remedy)


def _checksum(file: BinaryIO, size: int) -> bytes:
    """Return the checksum of the first ``size`` bytes followed by an empty zip comment."""
    digest = hashlib.sha256()
    while size > 0:
        block = file.read(min(_BLOCK, size))
        if not block:
            break
        digest.update(block)
        size -= len(block)
    digest.update(b'\0\0')
    return digest.hexdigest().encode()
