"""JSON files and JSON lines with checksums: a changed digit is noticed when they are read.

A checksum or signature covers every byte of its file or line but itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DamagedFileError, first_line
from .files import LineReader, append_line, json_text, read_jsonl, write_text
from .signing import require_signature, signature

__all__ = ['RecordReader', 'append_record', 'read_record', 'read_records', 'write_record']

_PathLike = str | os.PathLike[str]

_CHECKSUM, _SIGNATURE = 'checksum', 'signature'
_BLANK = '0' * 64
_END_OF_LINE = re.compile(rb'(, )?"checksum": "([0-9a-f]{16})"}$')


def write_record(path: _PathLike, record: Mapping[str, Any], *, signed_for: str | None = None) -> None:
    """Write a JSON object whole, with a checksum as its last entry.

    Parameters
    ----------
    path
        The file.
    record
        What it shall hold, as `write_json` takes it.
    signed_for
        Sign it for this purpose instead: it names code that its reader runs.
    """
    key = _CHECKSUM if signed_for is None else _SIGNATURE
    text = json_text({**record, key: _BLANK})
    content = text.encode('utf-8')
    seal = hashlib.sha256(content).hexdigest() if signed_for is None else signature(content, signed_for)
    before, _, after = text.rpartition(_BLANK)
    write_text(path, before + seal + after)


def read_record(path: _PathLike, *, remedy: str, signed_for: str | None = None) -> dict[str, Any]:
    """Read what `write_record` wrote.

    Parameters
    ----------
    path
        The file.
    remedy
        What a user can do where it is damaged and there is no copy, as a clause: ``'delete it to ...'``.
    signed_for
        The purpose for which it must be signed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    nni_cafenet.errors.DamagedFileError
        If it is not what was written.
    nni_cafenet.errors.UntrustedFileError
        If it must be signed, and is not, or by another key.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        record = json.loads(content.decode('utf-8'))
    except FileNotFoundError:
        raise
    except (ValueError, RecursionError, OSError) as error:
        raise damaged_file(path, f'it cannot be read: {first_line(error, 100)}', remedy) from error
    if not isinstance(record, dict):
        raise damaged_file(path, 'it holds no JSON object', remedy)
    key = _CHECKSUM if signed_for is None else _SIGNATURE
    seal = record.pop(key, None)
    blank = content
    if isinstance(seal, str) and re.fullmatch('[0-9a-f]{64}', seal):
        before, _, after = content.rpartition(seal.encode())
        blank = before + _BLANK.encode() + after
    if signed_for is not None:
        require_signature(seal, blank, signed_for, file=str(path), remedy=remedy)
    elif seal is None:
        raise damaged_file(path, 'it has no checksum: another program wrote it, or another version of this one', remedy)
    elif seal != hashlib.sha256(blank).hexdigest():
        raise damaged_file(path, 'its checksum does not fit what it holds', remedy)
    return record


def append_record(path: _PathLike, record: Mapping[str, Any]) -> None:
    """Append a JSON object with a checksum as one line; it is on the disk when this returns (see `append_line`)."""
    text = json.dumps(record)
    comma = ', ' if record else ''
    append_line(path, f'{text[:-1]}{comma}"{_CHECKSUM}": "{_short_checksum(text.encode())}"}}')


def read_records(path: _PathLike, *, remedy: str) -> list[dict[str, Any]]:
    """Read the lines that `append_record` wrote; an unfinished last line is cut off (see `read_jsonl`).

    Parameters
    ----------
    path
        The file.
    remedy
        What a user can do about a damaged line, as a clause: ``'delete that line to ...'``.

    Raises
    ------
    nni_cafenet.errors.DamagedFileError
        If a line is not what was written.
    """
    try:
        return read_jsonl(path, parse=_record_of)
    except FileNotFoundError:
        raise
    except (ValueError, OSError) as error:
        raise DamagedFileError(f'{first_line(error)}. Bring the file back from a copy, or {remedy}.') from error


class RecordReader(LineReader):
    """Reads the lines that another process appends by `append_record`, as they come; damaged ones are passed over."""

    parse = staticmethod(lambda line: _record_of(line))


def damaged_file(path: _PathLike, why: str, remedy: str) -> DamagedFileError:
    """Return the error that a file is damaged."""
    return DamagedFileError(f'{os.fspath(path)} is damaged ({why}). Bring it back from a copy, or {remedy}.')


def _record_of(line: bytes) -> dict[str, Any]:
    """Return the record of a line; a ValueError if it is not what was written."""
    line = line.rstrip(b'\r')
    end = _END_OF_LINE.search(line)
    if end is None:
        raise ValueError('it has no checksum: another program wrote it, or another version of this one')
    text = line[: end.start()] + b'}'
    if end.group(2).decode() != _short_checksum(text):
        raise ValueError('its checksum does not fit what it holds')
    record: dict[str, Any] = json.loads(text.decode('utf-8'))
    return record


def _short_checksum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]
