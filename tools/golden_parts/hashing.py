"""Hashes of tensors, of JSON and of the files of a folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from campaign.outcome import contents

__all__ = ['file_fields', 'hash_json', 'hash_tensors']

_MODULE = re.compile(r'\bnni_cafenet(?:\.\w+)*\.(\w+)')
_DIGEST = re.compile(r'\b(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{8,64}\b')
_SEALS = ('checksum', 'signature')
_TEXT = ('.csv', '.md', '.html', '.svg', '.txt')


def hash_json(value: Any) -> str:
    """Hash a value by its canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def hash_tensors(*tensors: Any) -> str:
    """Hash tensors or arrays, in order, by type, shape and bytes."""
    digest = hashlib.sha256()
    for each in tensors:
        tensor = torch.as_tensor(each).detach()
        digest.update(f'{tensor.dtype} {tuple(tensor.shape)}'.encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def file_fields(folder: Path) -> dict[str, Any]:
    """Return two fields for each file of a folder.

    ``bytes`` is what `campaign.outcome.contents` compares: all of it; files that name the folder have no such field.
    ``values`` leaves out what follows from how the code is written, not from what it computes: digests, modules of
    classes, the path of the folder, names in checkpoints.
    """
    fields: dict[str, Any] = {}
    for name, content in contents(folder).items():
        values = _values(folder / name, str(folder.absolute()))
        if values is not None:
            fields[f'values: {name}'] = values
        if str(folder.absolute()).encode() not in (folder / name).read_bytes():
            fields[f'bytes: {name}'] = content
    return fields


def _values(path: Path, folder: str) -> Any:
    if path.suffix == '.json':
        return _plain(json.loads(path.read_text(encoding='utf-8')), folder)
    if path.suffix == '.jsonl':
        return [_plain(json.loads(line), folder) for line in path.read_text(encoding='utf-8').splitlines()]
    if path.suffix in _TEXT:
        return _masked(path.read_text(encoding='utf-8'), folder)
    if path.suffix in ('.pt', '.ckpt'):
        leaves = tree_leaves(torch.load(path, weights_only=True))
        return list(_numbers(leaves))
    if path.suffix == '.onnx':
        return _onnx(path)
    return None


def _numbers(leaves: Iterable[Any]) -> Iterable[Any]:
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            yield hash_tensors(leaf)
        elif isinstance(leaf, (bool, int, float)):
            yield leaf


def _plain(value: Any, folder: str) -> Any:
    if isinstance(value, dict):
        return {_masked(key, folder): _plain(each, folder) for key, each in value.items() if key not in _SEALS}
    if isinstance(value, list):
        return [_plain(each, folder) for each in value]
    return _masked(value, folder) if isinstance(value, str) else value


def _masked(text: str, folder: str) -> str:
    return _DIGEST.sub('#', _MODULE.sub(r'\1', text.replace(folder, 'FOLDER')))


def _onnx(path: Path) -> Any:
    try:
        import onnx
    except ImportError:
        return None
    graph = onnx.load(str(path)).graph
    weights = sorted(hashlib.sha256(each.raw_data).hexdigest()[:16] for each in graph.initializer)
    return [[node.op_type for node in graph.node], weights]
