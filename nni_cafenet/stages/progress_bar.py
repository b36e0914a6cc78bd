"""A progress bar of a training: one for all its epochs."""

from __future__ import annotations

from collections.abc import Sequence

import pytorch_lightning as pl
from tqdm.auto import tqdm

__all__ = ['EpochBar']


class EpochBar(pl.Callback):
    """One progress bar for all epochs, also of a training that is resumed.

    Parameters
    ----------
    name
        What the training is called.
    metrics
        Logged metrics that are shown, as far as they are logged.
    """

    def __init__(self, name: str, metrics: Sequence[str] = ()) -> None:
        self.name = name
        self.metrics = tuple(metrics)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bar."""
        epoch = trainer.current_epoch
        self._bar = tqdm(total=trainer.max_epochs, initial=epoch, desc=self.name, unit='epoch', dynamic_ncols=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Move it on."""
        logged = trainer.callback_metrics
        known = [name for name in self.metrics if name in logged]
        self._bar.set_postfix({name.rpartition('/')[2]: f'{float(logged[name]):.3f}' for name in known})
        self._bar.update()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave it as it is."""
        self._bar.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave it as it is."""
        if hasattr(self, '_bar'):
            self._bar.close()
