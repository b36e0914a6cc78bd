"""The checkpoint of a training: written after every epoch, and taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from ..utils import RandomnessOnResume, loader_generators
from .lightning_module import MinMinModule
from .plain_checkpoint import PlainCheckpointIO

__all__ = ['RestoreRandomState', 'SaveEveryEpoch', 'batches_begun', 'has_ended', 'restore']


class SaveEveryEpoch(Checkpoint):
    """Keep a checkpoint of the end of every epoch but the last one, and of the training, complete at any moment.

    A run that is killed between the last epoch and the end of the training trains that epoch again: only then are all
    callbacks told that the training has ended.

    Lightning updates ``ReduceLROnPlateau`` only after the checkpoints of an epoch have been written. So what those
    schedulers are about to be told is kept in the checkpoint, and told to them when the run goes on.

    Parameters
    ----------
    path
        The file.
    last
        False: keep none of the end of the training, so that a resumed run trains the last epoch again and validates.
    """

    def __init__(self, path: Path, *, last: bool = True) -> None:
        self.path = path
        self.last = last
        self._ended = False
        self._plateau: dict[int, float] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Have the trainer write and read this checkpoint as plain values."""
        trainer.strategy.checkpoint_io = PlainCheckpointIO(trainer.strategy.checkpoint_io, self.path)

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
        if trainer.fit_loop.restarting:  # the rest of an epoch that had ended: its checkpoint is the one taken up
            return
        if _stops(trainer) or _is_last(trainer, trainer.current_epoch, trainer.global_step):
            return  # other callbacks may change the weights once more when the training ends, such as to their average
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
        if self.last:
            self._ended = True
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)


class RestoreRandomState(pl.Callback):
    """Let a training that goes on from a checkpoint draw the random numbers that it would have drawn.

    Parameters
    ----------
    loader
        Its training data; a generator of its own is kept as well.
    """

    def __init__(self, loader: Any = None) -> None:
        self._randomness = RandomnessOnResume(loader_generators(loader))

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into the checkpoint."""
        return self._randomness.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it out again."""
        self._randomness.resume_from(state_dict)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on with the random numbers of the run that is resumed."""
        self._randomness.on_fit_start(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the state of the generators."""
        self._randomness.on_train_start(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on with the random numbers of the run that is resumed."""
        self._randomness.on_train_epoch_start(trainer)


def has_ended(checkpoint: Mapping[str, Any], trainer: pl.Trainer) -> bool:
    """Whether a checkpoint was written at the end of the training."""
    ended: bool = checkpoint['callbacks'][SaveEveryEpoch.__qualname__]['ended']
    return ended or _is_last(trainer, checkpoint['epoch'], checkpoint['global_step'])


def _stops(trainer: pl.Trainer) -> bool:
    """Whether a callback has stopped the training, after as many epochs and steps as the trainer asks for."""
    enough = trainer.current_epoch + 1 >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0)
    return trainer.should_stop and enough


def _is_last(trainer: pl.Trainer, epoch: int, step: int) -> bool:
    """Whether an epoch, counted from 0, after so many steps, is the last one that the trainer is asked for."""
    epochs, steps = trainer.max_epochs, trainer.max_steps
    return (epochs is not None and 0 <= epochs <= epoch + 1) or 0 <= steps <= step


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
