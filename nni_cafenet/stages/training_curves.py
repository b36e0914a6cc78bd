"""Training curves: what a training logged, epoch by epoch, on disk at once."""

from __future__ import annotations

import math
from pathlib import Path

import pytorch_lightning as pl

from ..utils import append_record, read_records

__all__ = ['KeepCurves', 'read_curves']

_REMEDY = 'delete that line: curves are for reports alone'


class KeepCurves(pl.Callback):
    """Keep what a training has logged at the end of each epoch.

    Parameters
    ----------
    path
        The file, one JSON record a line. An epoch that is trained again after a crash has two; the last one counts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the beginning of a line that a killed process may have left: records follow."""
        if trainer.is_global_zero and self.path.exists():
            read_records(self.path, remedy=_REMEDY)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the metrics of the epoch."""
        if trainer.fit_loop.restarting:  # the rest of an epoch that had ended: it has its record
            return
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        finite = {name: value for name, value in logged.items() if math.isfinite(value)}
        if trainer.is_global_zero:
            append_record(self.path, {'epoch': trainer.current_epoch + 1, 'metrics': finite})


def read_curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Return ``{metric: [(epoch, value), ...]}`` of a training, epochs from 1 upwards; nothing where there is no file."""
    records = read_records(path, remedy=_REMEDY) if path.exists() else []
    epochs = {record['epoch']: record['metrics'] for record in records}
    curves: dict[str, list[tuple[int, float]]] = {}
    for epoch in sorted(epochs):
        for name, value in epochs[epoch].items():
            curves.setdefault(name, []).append((epoch, value))
    return curves
