"""The checkpoint of a training, written after every epoch, and resuming from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from ..utils import RandomnessOnResume, check_not_removed, loader_generators, restart_workers
from .lightning_module import MinMinModule
from .plain_checkpoint import PlainCheckpointIO

__all__ = ['RestoreRandomState', 'SaveEveryEpoch', 'batches_begun', 'has_ended', 'restore']


class SaveEveryEpoch(Checkpoint):
    """Save a checkpoint at the end of every epoch but the last, and of the training; the file is complete at any moment.

    A run killed between the last epoch and the end of the training repeats that epoch, so that all callbacks see the
    end of the training. With ``last=False`` there is no checkpoint at the end, and a resumed run repeats the last epoch
    and validates.

    Lightning updates ``ReduceLROnPlateau`` only after it has written the checkpoints of an epoch. So the checkpoint
    holds the pending values of those schedulers, which get them on resuming.

    Every epoch starts new worker processes, persistent ones too, so that samples drawn at random are those of an
    uninterrupted run.
    """

    def __init__(self, path: Path, *, last: bool = True) -> None:
        self.path = path
        self.last = last
        self._ended = self._saved = False
        self._plateau: dict[int, float] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make the trainer write and read this checkpoint as plain values."""
        trainer.strategy.checkpoint_io = PlainCheckpointIO(trainer.strategy.checkpoint_io, self.path)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for the checkpoint."""
        return {'ended': self._ended, 'plateau': self._plateau}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        self._plateau = state_dict['plateau']

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Pass the pending values to the schedulers."""
        restart_workers(trainer.val_dataloaders)  # those of the sanity check
        for index, value in self._plateau.items():
            pl_module.lr_scheduler_step(trainer.lr_scheduler_configs[index].scheduler, value)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, after all other callbacks."""
        restart_workers(trainer.train_dataloader, trainer.val_dataloaders)
        if trainer.fit_loop.restarting:  # the rest of an epoch that had ended: this run resumed from its checkpoint
            return
        if _stops(trainer) or _is_last(trainer, trainer.current_epoch, trainer.global_step):
            return  # callbacks may still change the weights at the end of the training, for example to their average
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
        """Save the end of the training."""
        if self.last:
            self._ended = True
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if self._saved and trainer.is_global_zero:
            check_not_removed(self.path)
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved = True


class RestoreRandomState(pl.Callback):
    """Restore RNG state, also of the loader, so that a resumed training draws the numbers of an uninterrupted one."""

    def __init__(self, loader: Any = None) -> None:
        self._randomness = RandomnessOnResume(loader_generators(loader))

    def state_dict(self) -> dict[str, Any]:
        """Return the state for the checkpoint."""
        return self._randomness.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        self._randomness.resume_from(state_dict)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore random states of the resumed run."""
        self._randomness.on_fit_start(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record random states."""
        self._randomness.on_train_start(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore random states of the resumed run."""
        self._randomness.on_train_epoch_start(trainer)


def has_ended(checkpoint: Mapping[str, Any], trainer: pl.Trainer) -> bool:
    """Whether a checkpoint was written at the end of the training."""
    ended: bool = checkpoint['callbacks'][SaveEveryEpoch.__qualname__]['ended']
    return ended or _is_last(trainer, checkpoint['epoch'], checkpoint['global_step'])


def _stops(trainer: pl.Trainer) -> bool:
    """Whether a callback has stopped the training after the trainer's minimum of epochs and steps."""
    enough = trainer.current_epoch + 1 >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0)
    return trainer.should_stop and enough


def _is_last(trainer: pl.Trainer, epoch: int, step: int) -> bool:
    """Whether an epoch, counted from 0, with a global step at its end, is the trainer's last."""
    epochs, steps = trainer.max_epochs, trainer.max_steps
    return (epochs is not None and 0 <= epochs <= epoch + 1) or 0 <= steps <= step


def restore(checkpoint: dict[str, Any], trainer: pl.Trainer, module: MinMinModule) -> None:
    """Restore the module, and the progress that a user's step may read, from the end of the training."""
    trainer.precision_plugin.convert_module(module)
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint['state_dict'])
    trainer.fit_loop.load_state_dict(checkpoint['loops']['fit_loop'])
    progress: Any = trainer.fit_loop.epoch_progress.current
    progress.completed = progress.processed


def batches_begun(trainer: pl.Trainer) -> int:
    """Count the batches that the training has taken (`current_epoch` is outdated when a run resumes)."""
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress.total
    return int(progress.ready)
