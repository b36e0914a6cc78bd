"""Shards of a data set: tar files named by a folder or a pattern, and those of them that are for validation."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ...errors import DataError
from .layouts import found_instead, layout_of

__all__ = ['find_shards', 'split_shards']

_BRACES = re.compile(r'\{([^{}]*)\}')
_RANGE = re.compile(r'(\d+)\.\.(\d+)')
_VALIDATION = re.compile(r'(?<![a-z])(val|valid|validation)(?![a-z])', re.IGNORECASE)
_TEST = re.compile(r'(?<![a-z])test(?![a-z])', re.IGNORECASE)
_MOST = 100_000
"""Shards that a pattern may name."""


def find_shards(place: str) -> list[Path]:
    """Return the tar files of a folder, or of a pattern such as ``'train-{000..099}.tar'`` or ``'*.tar'``, sorted.

    A DataError if there are none, or if shards that the pattern names one by one are missing.
    """
    folder = Path(place)
    if folder.is_dir():
        found = sorted([*folder.glob('*.tar'), *folder.glob('*/*.tar')])
        if not found:
            packed = sorted(each.name for end in ('tar.gz', 'tgz', 'tar.zst') for each in folder.glob(f'*.{end}'))
            if packed:
                raise DataError(f'{folder} has only compressed shards, such as {packed[0]}; unpack them to .tar')
            raise DataError(
                f'{folder} {found_instead("webdataset", folder)}. Shards are\n{layout_of("webdataset", folder)}'
            )
        return found
    missing, shards = [], set()
    for name in _expanded(place):
        names = sorted(glob.glob(name)) if glob.has_magic(name) else [name]
        files = [Path(each) for each in names if os.path.isfile(each)]
        shards.update(files)
        if not files:
            missing.append(name)
    if missing:
        more = f' and {len(missing) - 1} more' if len(missing) > 1 else ''
        raise DataError(f'there is no shard {missing[0]}{more}; check the path, it counts from {Path.cwd()}')
    return sorted(shards)


def split_shards(shards: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the shards for training and for validation, by ``val``, ``valid`` or ``validation`` in their names.

    Names count from the folder that all shards share. Without such names, those with ``test`` are for validation. The
    second list is empty if no shard is named so, or all are.
    """
    common = os.path.commonpath([shard.parent for shard in shards])
    names = [os.path.relpath(shard, common) for shard in shards]
    tests = [bool(_TEST.search(name)) for name in names]
    valid = [bool(_VALIDATION.search(name)) for name in names]
    chosen = valid if any(valid) else tests
    if all(chosen):
        return list(shards), []
    others = [shard for shard, held, test in zip(shards, chosen, tests) if not held and not test]
    return others, [shard for shard, held in zip(shards, chosen) if held]


def _expanded(pattern: str) -> list[str]:
    """Return the names of a pattern with braces: ``{000..099}`` for numbers, ``{a,b}`` for words."""
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    span = _RANGE.fullmatch(found[1])
    if span:
        first, last = int(span[1]), int(span[2])
        if not first <= last < first + _MOST:
            raise DataError(f'{found[0]} in {pattern} must be ascending, with at most {_MOST:,} numbers')
        parts = [f'{number:0{len(span[1])}d}' for number in range(first, last + 1)]
    else:
        parts = found[1].split(',')
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [name for part in parts for name in _expanded(f'{before}{part}{after}')]
