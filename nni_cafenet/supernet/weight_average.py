"""The moving average of the supernet's weights, which takes their place when training has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

__all__ = ['WeightAverage', 'put_average']


class WeightAverage(pl.Callback):
    """Keep an exponential moving average of all parameters, and train on; at the end they are replaced by it.

    Buffers are not averaged: running statistics are re-estimated for each width.

    Parameters
    ----------
    decay
        Share of the old average that stays after a step; it grows to that in the first steps, as
        ``min(decay, (1 + steps) / (10 + steps))``.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._average: dict[str, Tensor] = {}
        self._steps = 0
        self._seen = 0
        self._applied = False

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into the checkpoint."""
        return {'average': self._average, 'steps': self._steps, 'seen': self._seen, 'applied': self._applied}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it out again."""
        self._average = {name: tensor.clone() for name, tensor in state_dict['average'].items()}
        self._steps, self._seen, self._applied = state_dict['steps'], state_dict['seen'], state_dict['applied']

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Bring the weights of a step into the average."""
        if trainer.global_step == self._seen:  # gradients of several batches are gathered
            return
        self._seen, share = trainer.global_step, 1 - min(self.decay, (1 + self._steps) / (10 + self._steps))
        self._steps += 1
        for name, parameter in _averaged(pl_module).items():
            if name in self._average:
                average = self._average[name] = self._average[name].to(parameter.device)
                average.lerp_(parameter.detach().float(), share)
            else:
                self._average[name] = parameter.detach().float().clone()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace the weights by their average; the checkpoint of the end, which is written next, holds it."""
        put_average(pl_module, self.state_dict())
        self._applied = True


@torch.no_grad()
def put_average(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Replace the weights of a module by the average that a checkpoint holds, if they have not been yet."""
    if state['applied']:
        return
    parameters = _averaged(module)
    for name, average in state['average'].items():
        parameters[name].copy_(average)


def _averaged(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: each for name, each in module.named_parameters() if each.is_floating_point()}
