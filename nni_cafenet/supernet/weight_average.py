"""The moving average of weights, which replaces them at the end of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

__all__ = ['ValidatedAverage', 'WeightAverage', 'put_average']


class WeightAverage(pl.Callback):
    """Average all parameters exponentially during training, and replace them by the average at its end.

    Buffers are not averaged: running statistics are re-estimated for each width.

    Parameters
    ----------
    decay
        Weight of the old average in a step. It warms up as ``min(decay, (1 + steps) / (10 + steps))``.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._average: dict[str, Tensor] = {}
        self._steps = 0
        self._seen = 0
        self._applied = False

    def state_dict(self) -> dict[str, Any]:
        """Return the state for the checkpoint."""
        return {'average': self._average, 'steps': self._steps, 'seen': self._seen, 'applied': self._applied}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        self._average = {name: tensor.clone() for name, tensor in state_dict['average'].items()}
        self._steps, self._seen, self._applied = state_dict['steps'], state_dict['seen'], state_dict['applied']

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the weights of a step to the average."""
        if trainer.global_step == self._seen:  # gradients are accumulated over batches
            return
        self._seen, share = trainer.global_step, 1 - min(self.decay, (1 + self._steps) / (10 + self._steps))
        self._steps += 1
        for name, tensor in self._averaged(pl_module).items():
            if name in self._average:
                average = self._average[name] = self._average[name].to(tensor.device)
                average.lerp_(tensor.detach().float(), share)
            else:
                self._average[name] = tensor.detach().float().clone()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace the weights by their average, before the checkpoint of the end is written."""
        put_average(pl_module, self.state_dict())
        self._applied = True

    def _averaged(self, module: nn.Module) -> dict[str, Tensor]:
        return {name: each for name, each in module.named_parameters() if each.is_floating_point()}


class ValidatedAverage(WeightAverage):
    """Average parameters and buffers, for a network of fixed widths: validation runs on the average too.

    Running statistics are averaged with the weights that they belong to, as in timm and in torchvision's reference scripts.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(decay)
        self._current: dict[str, Tensor] = {}

    @torch.no_grad()
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the average in place of the weights."""
        if self._average and not self._applied:
            self._current = {name: each.detach().clone() for name, each in self._averaged(pl_module).items()}
            put_average(pl_module, self.state_dict())

    @torch.no_grad()
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the weights back."""
        tensors = self._averaged(pl_module)
        for name, tensor in self._current.items():
            tensors[name].copy_(tensor)
        self._current = {}

    def _averaged(self, module: nn.Module) -> dict[str, Tensor]:
        buffers = {name: each for name, each in module.named_buffers() if each.is_floating_point()}
        return {**super()._averaged(module), **buffers}


@torch.no_grad()
def put_average(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Replace the weights of a module by the average in a checkpoint, unless that was done before saving."""
    if state['applied']:
        return
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, average in state['average'].items():
        tensors[name].copy_(average)
