"""One progress bar for all epochs of a training."""

from __future__ import annotations

from collections.abc import Sequence

import pytorch_lightning as pl
from tqdm.auto import tqdm

__all__ = ['EpochBar']


class EpochBar(pl.Callback):
    """One progress bar for all epochs, also after resuming; metrics that are not logged are skipped."""

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

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Advance the bar and show the metrics."""
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
