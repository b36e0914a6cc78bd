"""One progress bar for all epochs of a training."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from tqdm.auto import tqdm

from ..utils import format_duration

__all__ = ['EpochBar']

_REFRESH = 2.0
"""Seconds between two estimates."""


class EpochBar(pl.Callback):
    """One progress bar for all epochs, also after resuming; metrics that are not logged are skipped.

    Until an epoch has ended, it shows the time that the steps so far let expect.
    """

    def __init__(self, name: str, metrics: Sequence[str] = ()) -> None:
        self.name = name
        self.metrics = tuple(metrics)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Create the bar."""
        epoch = trainer.current_epoch
        self._bar = tqdm(
            total=trainer.max_epochs,
            initial=epoch,
            desc=self.name,
            unit='epoch',
            dynamic_ncols=True,
            disable=not trainer.is_global_zero,
        )
        self._start: float | None = time.monotonic()
        self._shown = self._start

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Show the time that the training is expected to take, every few seconds of its first epoch."""
        now = time.monotonic()
        if self._start is None or now - self._shown < _REFRESH:
            return
        self._shown = now
        each, epochs = trainer.num_training_batches, trainer.max_epochs or -1
        left = each * (epochs - trainer.current_epoch)
        if 0 < left < math.inf:
            seconds = (now - self._start) * left / (trainer.fit_loop.batch_idx + 1)
            self._bar.set_postfix_str(f'expected: ~{format_duration(seconds)}')

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Advance the bar and show the metrics."""
        self._start = None
        logged = trainer.callback_metrics
        known = [name for name in self.metrics if name in logged]
        self._bar.set_postfix({name.rpartition('/')[2]: f'{float(logged[name]):.3f}' for name in known})
        self._bar.update()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._bar.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar."""
        if hasattr(self, '_bar'):
            self._bar.close()
