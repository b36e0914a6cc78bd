"""Metrics of every epoch for TensorBoard and Weights & Biases."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from ..errors import MissingExtraError
from .training_curves import KeepCurves

__all__ = ['MetricsMonitor', 'check_loggers']

_PACKAGES = {'tensorboard': ('tensorboard', 'tensorboardX'), 'wandb': ('wandb',)}


def check_loggers(names: Sequence[str]) -> None:
    """Raise MissingExtraError if the package of a logger is not installed."""
    for name in names:
        if not any(importlib.util.find_spec(package) for package in _PACKAGES[name]):
            raise MissingExtraError(f'loggers={name!r}: needs a package: pip install {_PACKAGES[name][0]}')


class MetricsMonitor(pl.Callback):
    """Log the metrics of every epoch to the folder of the training, below ``tensorboard`` or ``wandb``.

    It must be in the trainer beside `KeepCurves`, whose folder it uses. A resumed training continues in the same folder.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._loggers: list[Logger] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the loggers."""
        curves = next((each.path for each in trainer.callbacks if isinstance(each, KeepCurves)), None)  # type: ignore[attr-defined]
        if trainer.is_global_zero and curves is not None:
            self._loggers = [_logger(name, curves.parent) for name in self.names]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the metrics of the epoch."""
        if trainer.fit_loop.restarting:  # a resumed epoch that was already logged
            return
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        for logger in self._loggers:
            logger.log_metrics(values, step=trainer.current_epoch + 1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the loggers."""
        for logger in self._loggers:
            logger.finalize('success')
        self._loggers = []


def _logger(name: str, folder: Path) -> Any:
    if name == 'tensorboard':
        return TensorBoardLogger(save_dir=folder, name=name, version='')
    return WandbLogger(project='nni-cafenet', name=folder.name, save_dir=folder, offline=False)
