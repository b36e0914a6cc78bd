"""The supernet's checkpoint: written after every epoch, and taken up again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from .lightning import MinMinModule

__all__ = ['SaveEveryEpoch', 'batches_begun', 'has_ended', 'restore']


class SaveEveryEpoch(Checkpoint):
    """Keep the supernet's checkpoint at the end of every epoch and of the training, complete at any moment.

    Lightning updates ``ReduceLROnPlateau`` only after the checkpoints of an epoch have been written. So what those
    schedulers are about to be told is kept in the checkpoint, and told to them when the run goes on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ended = False
        self._plateau: dict[int, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into the checkpoint."""
        return {'ended': self._ended, 'plateau': self._plateau}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it out again."""
        self._plateau = state_dict['plateau']

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the schedulers what the checkpoint kept for them."""
        for index, value in self._plateau.items():
            pl_module.lr_scheduler_step(trainer.lr_scheduler_configs[index].scheduler, value)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, after all other callbacks."""
        self._ended = trainer.should_stop and trainer.current_epoch + 1 >= (trainer.min_epochs or 0)
        self._plateau = {
            index: float(trainer.callback_metrics[config.monitor])
            for index, config in enumerate(trainer.lr_scheduler_configs)
            if config.reduce_on_plateau
            and config.interval == 'epoch'
            and (trainer.current_epoch + 1) % config.frequency == 0
            and config.monitor in trainer.callback_metrics
        }
        self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save once more."""
        self._ended = True  # other callbacks may have changed the weights once more, such as to their average
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        temporary = self.path.with_name(f'{self.path.name}.new')
        trainer.save_checkpoint(temporary, weights_only=False)
        if trainer.is_global_zero:
            os.replace(temporary, self.path)


def has_ended(checkpoint: Mapping[str, Any], trainer: pl.Trainer) -> bool:
    """Whether a checkpoint was written at the end of the training."""
    epochs, steps = trainer.max_epochs, trainer.max_steps
    last_epoch = epochs is not None and epochs >= 0 and checkpoint['epoch'] + 1 >= epochs
    ended: bool = checkpoint['callbacks'][SaveEveryEpoch.__qualname__]['ended']
    return ended or last_epoch or (steps >= 0 and checkpoint['global_step'] >= steps)


def restore(checkpoint: dict[str, Any], trainer: pl.Trainer, module: MinMinModule) -> None:
    """Make the module, and what a step of the user may ask the trainer, as they were at the end of the training."""
    trainer.precision_plugin.convert_module(module)
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint['state_dict'])
    trainer.fit_loop.load_state_dict(checkpoint['loops']['fit_loop'])
    progress: Any = trainer.fit_loop.epoch_progress.current
    progress.completed = progress.processed


def batches_begun(trainer: pl.Trainer) -> int:
    """Return how many batches the training has taken (`current_epoch` is not up to date when a run is resumed)."""
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress.total
    return int(progress.ready)
