"""Experiments with a training service resume.

What NNI lacks: ``NasExperiment.resume`` waits for ever. The manager of a resumed experiment sends commands
(``ImportData``, ``AddCustomizedTrialJob``) that NNI's channel for NAS strategies does not know; it raises in the thread
that listens, and nothing is heard of the manager from then on. And the checkpoints of `Random`, `GridSearch`,
`RegularizedEvolution` and `PolicyBasedRL` are not read: since torch 2.6 ``torch.load`` takes tensors and plain values
only, and these strategies keep the state of numpy's generators. Here such a checkpoint is read if this user's key
signed it, since reading it whole runs the code that it names.
"""

from __future__ import annotations

import functools
import io
import logging
import pickle
from pathlib import Path
from typing import Any

import torch
from nni.nas.utils.serializer import TorchSerializer, _find_path_with_prefix
from nni.runtime.tuner_command_channel import TunerCommandChannel

from ..files import write_bytes
from ..signing import refuse_unsigned, signature

__all__ = ['load_checkpoints_of_strategies', 'skip_unknown_commands']

_logger = logging.getLogger(__name__)

_PURPOSE = "checkpoint of NNI's strategies"
_MARK = b'nni_cafenet hmac-sha256 '
_NO_COMMENT = b'\0\0'
_LENGTH = (len(_MARK) + 64).to_bytes(2, 'little')


def skip_unknown_commands() -> None:
    """Have NNI's channel for strategies pass over the commands that it does not know."""
    released = TunerCommandChannel.receive
    if getattr(released, 'skips_unknown', False):
        return

    @functools.wraps(released)
    def receive(self: Any) -> Any:
        while True:
            try:
                return released(self)
            except ValueError as error:
                if not str(error).startswith('Unknown command type'):
                    raise
                _logger.debug('Passed over what the NNI manager sent: %s', error)

    receive.skips_unknown = True  # type: ignore[attr-defined]
    TunerCommandChannel.receive = receive


def load_checkpoints_of_strategies() -> None:
    """Have NNI read its own checkpoints whole, as it did before torch 2.6, where this user's key signed them.

    The signature is the comment of the zip archive that ``torch.save`` writes, which other readers pass over.
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
            refuse_unsigned(signed, content, _PURPOSE, file=str(file), remedy='start the experiment anew')
            return torch.load(io.BytesIO(content + _NO_COMMENT), map_location=self._map_location, weights_only=False)

    load.loads_all = True  # type: ignore[attr-defined]
    TorchSerializer.save, TorchSerializer.load = save, load
