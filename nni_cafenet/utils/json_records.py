"""JSON files and JSON lines with checksums or signatures over every other byte."""

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
from .links import FilePath
from .signing import require_signature, signature

__all__ = ['RecordReader', 'append_record', 'read_record', 'read_records', 'write_record']

_CHECKSUM, _SIGNATURE = 'checksum', 'signature'
_BLANK = '0' * 64
_END_OF_LINE = re.compile(rb'(, )?"checksum": "([0-9a-f]{16})"}$')


def write_record(path: FilePath, record: Mapping[str, Any], *, signed_for: str | None = None) -> None:
    """Write a JSON object atomically, with a checksum as its last entry.

    ``signed_for`` is the purpose of a signature in place of the checksum, for a record that names code to run.
    """
    key = _CHECKSUM if signed_for is None else _SIGNATURE
    text = json_text({**record, key: _BLANK})
    content = text.encode('utf-8')
    seal = hashlib.sha256(content).hexdigest() if signed_for is None else signature(content, signed_for)
    before, _, after = text.rpartition(_BLANK)
    write_text(path, before + seal + after)


def read_record(path: FilePath, *, remedy: str, signed_for: str | None = None) -> dict[str, Any]:
    """Read and verify a file that `write_record` wrote.

    Raises FileNotFoundError, `DamagedFileError`, or `UntrustedFileError` without a valid signature for the purpose
    ``signed_for``. ``remedy`` says what to do without a backup, as a clause: ``'delete it to ...'``.
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
        raise damaged_file(path, 'it does not contain a JSON object', remedy)
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
        raise damaged_file(path, 'its checksum does not match its content', remedy)
    return record


def append_record(path: FilePath, record: Mapping[str, Any]) -> None:
    """Append a JSON object with a checksum as one line, durably (see `append_line`)."""
    text = json.dumps(record)
    comma = ', ' if record else ''
    append_line(path, f'{text[:-1]}{comma}"{_CHECKSUM}": "{_short_checksum(text.encode())}"}}')


def read_records(path: FilePath, *, remedy: str) -> list[dict[str, Any]]:
    """Read lines that `append_record` wrote, and drop a partial last line (see `read_jsonl`).

    A wrong checksum raises `DamagedFileError` with a remedy, as in `read_record`.
    """
    try:
        return read_jsonl(path, parse=_record_of)
    except FileNotFoundError:
        raise
    except (ValueError, OSError) as error:
        raise DamagedFileError(f'{first_line(error)}. Restore the file from a backup, or {remedy}.') from error


class RecordReader(LineReader):
    """Follows a file that another process appends to with `append_record`; damaged lines are skipped."""

    parse = staticmethod(lambda line: _record_of(line))


def damaged_file(path: FilePath, why: str, remedy: str) -> DamagedFileError:
    return DamagedFileError(f'{os.fspath(path)} is damaged ({why}). Restore it from a backup, or {remedy}.')


def _record_of(line: bytes) -> dict[str, Any]:
    """Parse and verify a line; raises ValueError."""
    line = line.rstrip(b'\r')
    end = _END_OF_LINE.search(line)
    if end is None:
        raise ValueError('it has no checksum: another program wrote it, or another version of this one')
    text = line[: end.start()] + b'}'
    if end.group(2).decode() != _short_checksum(text):
        raise ValueError('its checksum does not match its content')
    record: dict[str, Any] = json.loads(text.decode('utf-8'))
    return record


def _short_checksum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]
