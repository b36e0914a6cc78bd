"""Experiments with a training service resume.

Fault in NNI: the checkpoints of `Random`, `GridSearch`, `RegularizedEvolution` and `PolicyBasedRL` are not read: since
torch 2.6 ``torch.load`` accepts only tensors and plain values, and these strategies store the state of numpy's
generators. Here such a checkpoint is read if this user's key signed it, since reading it runs the code that it names.
The other faults of resumed experiments are in ``commands.py`` and ``limits.py``.
"""

from __future__ import annotations

import functools
import io
import pickle
from pathlib import Path
from typing import Any

import torch
from nni.nas.utils.serializer import TorchSerializer, _find_path_with_prefix

from ...utils import require_signature, signature, write_bytes

__all__ = ['load_checkpoints_of_strategies']

_PURPOSE = "checkpoint of NNI's strategies"
_MARK = b'nni_cafenet hmac-sha256 '
_NO_COMMENT = b'\0\0'
_LENGTH = (len(_MARK) + 64).to_bytes(2, 'little')


def load_checkpoints_of_strategies() -> None:
    """Have NNI read its own checkpoints whole, as before torch 2.6, if this user's key signed them.

    The signature is the comment of the zip archive that ``torch.save`` writes, which other readers ignore.
    """
    released_save, released_load = TorchSerializer.save, TorchSerializer.load
    if getattr(released_load, 'loads_all', False):
        return

    @functools.wraps(released_save)
    def save(self: Any, checkpoint: Any, path: Path) -> None:
        released_save(self, checkpoint, path)
        file = Path(str(path) + self.suffix)
        content = file.read_bytes()[: -len(_NO_COMMENT)]
        write_bytes(file, content + _LENGTH + _MARK + signature(content, _PURPOSE).encode())

    @functools.wraps(released_load)
    def load(self: Any, path: Path) -> Any:
        try:
            return released_load(self, path)
        except pickle.UnpicklingError:
            file = _find_path_with_prefix(path, self.suffix)
            content, _, seal = file.read_bytes().rpartition(_LENGTH + _MARK)
            signed = seal.decode('ascii', 'replace') if content else None
            require_signature(signed, content, _PURPOSE, file=str(file), remedy='start the experiment again')
            return torch.load(io.BytesIO(content + _NO_COMMENT), map_location=self._map_location, weights_only=False)

    load.loads_all = True  # type: ignore[attr-defined]
    TorchSerializer.save, TorchSerializer.load = save, load
