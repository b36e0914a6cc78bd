"""Checkpoints of tensors and plain values, which ``torch.load(weights_only=True)`` reads.

Lightning's checkpoints contain hyper-parameters, with classes among them, and the states of callbacks, which recent
releases refuse to load. Here hyper-parameters other than plain values are left out, since the module has them. Arrays,
NumPy numbers and paths are written as plain data. Anything else in the states of users' callbacks and modules is pickled
and signed with the user's key; only pickles with a valid signature are loaded.
"""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path, PurePath
from typing import Any

import cloudpickle
import numpy as np
import torch
from lightning_fabric.plugins import CheckpointIO

from ..utils import load_torch, require_signature, save_torch, signature

__all__ = ['PlainCheckpointIO', 'plain', 'read_checkpoint', 'restored']

_TAG = '__cafenet__'
_HYPER_PARAMETERS = ('hyper_parameters', 'datamodule_hyper_parameters')
_TYPES_OF_THEM = ('hparams_type', 'datamodule_hparams_type')
_PURPOSE = 'checkpoint'
_REMEDY = 'delete it to train that network anew'
_SINGLE = (type(None), bool, int, float, complex, str, bytes, torch.Size, torch.dtype, torch.device)


class PlainCheckpointIO(CheckpointIO):
    """Writes and reads the checkpoint ``path`` as plain values, and leaves all others to the trainer's own plugin."""

    def __init__(self, others: CheckpointIO, path: Path) -> None:
        self.others = others
        self.path = path

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        if self._is_own(path):
            save_torch(plain(checkpoint), path)
        elif storage_options is None:
            self.others.save_checkpoint(checkpoint, path)
        else:
            self.others.save_checkpoint(checkpoint, path, storage_options)

    def load_checkpoint(self, path: Any, *args: Any, **options: Any) -> dict[str, Any]:
        """Read a checkpoint."""
        if self._is_own(path):
            return read_checkpoint(path)
        loaded: dict[str, Any] = self.others.load_checkpoint(path, *args, **options)
        return loaded

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint."""
        self.others.remove_checkpoint(path)

    def teardown(self) -> None:
        """Tear down the other plugin."""
        self.others.teardown()

    def _is_own(self, path: Any) -> bool:
        return Path(path) == self.path


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return a checkpoint that `PlainCheckpointIO` wrote, with its tensors on the CPU.

    Raises `DamagedFileError`, or `UntrustedFileError` if it contains a pickle that the user's key did not sign.
    """
    loaded: dict[str, Any] = restored(load_torch(path, remedy=_REMEDY), str(path))
    return loaded


def plain(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint as tensors and plain values."""
    kept = {name: value for name, value in checkpoint.items() if name not in _TYPES_OF_THEM}
    for name in _HYPER_PARAMETERS:
        if name in kept:
            kept[name] = {key: value for key, value in dict(kept[name]).items() if isinstance(value, _SINGLE)}
    encoded: dict[str, Any] = _encoded(kept)
    return encoded


def restored(value: Any, file: str = 'The checkpoint') -> Any:
    """Invert `plain`, without the hyper-parameters that are not plain values; ``file`` is for messages."""
    if isinstance(value, dict):
        if _TAG in value:
            return _decoded(value, file)
        return type(value)((key, restored(each, file)) for key, each in value.items())
    if type(value) in (list, tuple, set):
        return type(value)(restored(each, file) for each in value)
    return value


def _encoded(value: Any) -> Any:
    kind = type(value)
    if kind in _SINGLE or isinstance(value, torch.Tensor):
        return value
    if kind in (dict, OrderedDict) and all(type(key) in _SINGLE for key in value):
        return kind((key, _encoded(each)) for key, each in value.items())
    if kind in (list, tuple, set):
        return kind(map(_encoded, value))
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in 'biufcSU':
        return {_TAG: 'array' if kind is np.ndarray else 'number', **_array(value)}
    if isinstance(value, PurePath):
        return {_TAG: 'path', 'path': str(value)}
    content = cloudpickle.dumps(value)
    return {_TAG: 'pickle', 'content': content, 'signature': signature(content, _PURPOSE)}


def _array(value: Any) -> dict[str, Any]:
    array = np.ascontiguousarray(value)
    return {'dtype': array.dtype.str, 'shape': tuple(np.shape(value)), 'content': array.tobytes()}


def _decoded(value: dict[str, Any], file: str) -> Any:
    kind = value[_TAG]
    if kind == 'path':
        return Path(value['path'])
    if kind == 'pickle':
        require_signature(value.get('signature'), value['content'], _PURPOSE, file=file, remedy=_REMEDY)
        return pickle.loads(value['content'])
    array = np.frombuffer(value['content'], dtype=np.dtype(value['dtype'])).reshape(value['shape']).copy()
    return array if kind == 'array' else array[()]
