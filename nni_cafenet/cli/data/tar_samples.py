"""An index of the samples in tar files: the place and label of each picture, so that it can be read at any time."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, first_line, truncated
from .image_files import EXTENSIONS

__all__ = ['TarSamples']

_LABELS = ('cls', 'json')
_REMEDY = 'a sample is files of one name: KEY.jpg with KEY.cls (the class, a number as text), or KEY.json with "label"'


@dataclass(frozen=True)
class TarSamples:
    """Pictures in tar files: the number of their shard, first byte and length, and class, one value per picture."""

    shards: tuple[Path, ...]
    shard: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, shards: Sequence[Path]) -> TarSamples:
        """Read the headers and labels of all shards; a DataError for damage, or samples without picture or label."""
        from tqdm.auto import tqdm

        rows = []
        for number, shard in enumerate(tqdm(shards, desc='Shards', unit='file')):
            rows += [(number, *row) for row in _rows(shard)]
        columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
        return cls(tuple(shards), *(np.ascontiguousarray(column) for column in columns))

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, mask: NDArray[np.bool_]) -> TarSamples:
        """Return a part of the samples."""
        return TarSamples(self.shards, self.shard[mask], self.offset[mask], self.size[mask], self.labels[mask])

    def read(self, index: int) -> bytes:
        """Return the file of a picture; a DataError if its shard has become shorter."""
        shard, size = self.shards[self.shard[index]], int(self.size[index])
        try:
            with shard.open('rb') as file:
                file.seek(int(self.offset[index]))
                content = file.read(size)
        except OSError as error:
            raise DataError(f'the shard {shard} cannot be read ({first_line(error)})') from error
        if len(content) < size:
            raise DataError(f'the shard {shard} has become shorter since it was opened')
        return content

    def title(self, index: int) -> str:
        """Return where a picture is, for messages."""
        return f'at byte {self.offset[index]:,} of {self.shards[self.shard[index]]}'


def _rows(shard: Path) -> Iterator[tuple[int, int, int]]:
    """Yield first byte and length of each picture of a shard, and its label."""
    samples: dict[str, dict[str, tarfile.TarInfo]] = {}
    try:
        with shard.open('rb') as file, tarfile.open(fileobj=file, mode='r:') as tar:
            for member in tar:
                name = member.name.rpartition('/')[2]
                if not member.isfile() or name.startswith(('.', '__')):
                    continue
                key, _, end = name.partition('.')
                parts = samples.setdefault(member.name[: -len(name)] + key, {})
                if end.lower() in parts:
                    raise DataError(f'{shard} has {member.name} twice; {_REMEDY}')
                parts[end.lower()] = member
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
                raise tarfile.ReadError('it has no end')  # the module takes a cut file for a whole one
            yield from _checked(shard, file, samples)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(
            f'{shard} is not a tar file, is compressed, or is damaged ({first_line(error, 80)}); unpack a compressed one '
            'to .tar, fetch a damaged one again'
        ) from error


def _checked(
    shard: Path, file: IO[bytes], samples: dict[str, dict[str, tarfile.TarInfo]]
) -> Iterator[tuple[int, int, int]]:
    if not samples:
        raise DataError(f'{shard} is empty; {_REMEDY}')
    for key, parts in samples.items():
        picture = next((member for end, member in parts.items() if f'.{end.rpartition(".")[2]}' in EXTENSIONS), None)
        label = next((parts[end] for end in _LABELS if end in parts), None)
        if picture is None or label is None:
            what = 'picture' if picture is None else 'label'
            raise DataError(f'{shard}: sample {key!r} has .{", .".join(parts)}, but no {what}; {_REMEDY}')
        file.seek(label.offset_data)
        yield picture.offset_data, picture.size, _label(shard, label, file.read(label.size))


def _label(shard: Path, member: tarfile.TarInfo, content: bytes) -> int:
    """Return the class of a sample."""
    text = content.decode('utf-8', errors='replace').strip()
    value: object = text
    if member.name.lower().endswith('.json'):
        try:
            record = json.loads(text)
        except ValueError as error:
            raise DataError(f'{shard}: {member.name} is not JSON ({first_line(error)}); {_REMEDY}') from error
        if not isinstance(record, dict) or 'label' not in record:
            keys = ', '.join(map(repr, record)) if isinstance(record, dict) and record else 'no keys'
            raise DataError(f'{shard}: {member.name} has {truncated(keys)}, but no "label"; {_REMEDY}')
        value = record['label']
    try:
        return int(str(value))
    except ValueError:
        raise DataError(
            f'{shard}: {member.name} holds {truncated(repr(value), 40)} as a label, not a whole number; {_REMEDY}'
        ) from None
