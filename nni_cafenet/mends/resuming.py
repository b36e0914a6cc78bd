"""Experiments with a training service resume.

What NNI lacks: ``NasExperiment.resume`` waits for ever. The manager of a resumed experiment sends commands
(``ImportData``, ``AddCustomizedTrialJob``) that NNI's channel for NAS strategies does not know; it raises in the thread
that listens, and nothing is heard of the manager from then on. And the checkpoints of `Random`, `GridSearch`,
`RegularizedEvolution` and `PolicyBasedRL` are not read: since torch 2.6 ``torch.load`` takes tensors and plain values
only, and these strategies keep the state of numpy's generators.
"""

from __future__ import annotations

import functools
import logging
import pickle
from pathlib import Path
from typing import Any

import torch
from nni.nas.utils.serializer import TorchSerializer, _find_path_with_prefix
from nni.runtime.tuner_command_channel import TunerCommandChannel

__all__ = ['load_checkpoints_of_strategies', 'skip_unknown_commands']

_logger = logging.getLogger(__name__)


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
    """Have NNI read its own checkpoints whole, as it did before torch 2.6: files of the experiment's own folder."""
    released = TorchSerializer.load
    if getattr(released, 'loads_all', False):
        return

    @functools.wraps(released)
    def load(self: Any, path: Path) -> Any:
        try:
            return released(self, path)
        except pickle.UnpicklingError:
            return torch.load(
                str(_find_path_with_prefix(path, self.suffix)), map_location=self._map_location, weights_only=False
            )

    load.loads_all = True  # type: ignore[attr-defined]
    TorchSerializer.load = load
