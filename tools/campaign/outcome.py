"""What a run has left in its folder, so that two runs can be compared to the bit."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from nni_cafenet.stages.training_curves import read_curves
from nni_cafenet.supernet.plain_checkpoint import read_checkpoint
from nni_cafenet.utils.files import read_jsonl

__all__ = ['NOT_COMPARED', 'contents', 'differences', 'leftovers']

NOT_COMPARED = {
    r'process\.json': 'the process that did the run last, and since when',
    r'speed\.json': 'the seconds of a forward',
    r'\..*\.(tmp|\d+)|.*\.new': 'leftovers of a killed process, which are counted apart',
}
"""Files that legitimately differ, as regular expressions of their names."""


def contents(folder: Path) -> dict[str, str]:
    """
    Return what is in each file of a folder, or a hash of it.

    Training curves are read as a report reads them, since an epoch that is trained again is logged again; so are measured
    times, whose lines may be cut otherwise. In TorchScript, torch writes attributes in the order of a set, which differs
    between processes: lines of its code are sorted. Checkpoints are compared by their values: pickle
    writes equal strings once or twice. All other files count byte by byte.
    """
    files = sorted(path for path in folder.rglob('*') if path.is_file())
    return {
        str(path.relative_to(folder)): _READ.get(path.name, _READ.get(path.suffix, _hash))(path)
        for path in files
        if not any(re.fullmatch(pattern, path.name) for pattern in NOT_COMPARED)
    }


def leftovers(folder: Path) -> list[str]:
    """Return the temporary files that killed processes have left in a folder."""
    pattern = next(pattern for pattern in NOT_COMPARED if 'tmp' in pattern)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if re.fullmatch(pattern, path.name))


def differences(expected: Any, found: Any, where: str = '') -> list[str]:
    """Return in which places two outcomes differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = sorted({*expected, *found})
        return [each for key in keys for each in differences(expected.get(key), found.get(key), f'{where}/{key}')]
    return [] if expected == found else [f'{where}: {_short(expected)} expected, {_short(found)} found']


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 160 else f'{text[:157]}...'


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _curves(path: Path) -> str:
    return json.dumps(read_curves(path))


def _times(path: Path) -> str:
    times: dict[str, list[Any]] = {}
    for line in read_jsonl(path):
        for what, values in line['ns'].items():
            times.setdefault(what, []).extend(values)
    return json.dumps(times, sort_keys=True)


def _checkpoint(path: Path) -> str:
    digest = hashlib.sha256()
    leaves, structure = tree_flatten(read_checkpoint(path))
    for leaf in leaves:
        is_tensor = isinstance(leaf, torch.Tensor)
        digest.update(f'{leaf.dtype} {tuple(leaf.shape)}'.encode() if is_tensor else repr(leaf).encode())
        if is_tensor:
            digest.update(leaf.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return hashlib.sha256(f'{structure}{digest.hexdigest()}'.encode()).hexdigest()[:16]


def _torchscript(path: Path) -> str:
    with zipfile.ZipFile(path) as file:
        parts = [name for name in sorted(file.namelist()) if not name.endswith('serialization_id')]
        content = {
            name: sorted(file.read(name).split(b'\n')) if '/code/' in name else file.read(name) for name in parts
        }
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


_READ: dict[str, Callable[[Path], str]] = {
    'curves.jsonl': _curves,
    'latency_times.jsonl': _times,
    '.ckpt': _checkpoint,
    '.ts': _torchscript,
}
