"""Training curves on disk: the metrics logged in each epoch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytorch_lightning as pl

from ..utils import append_record, read_records, write_text

__all__ = ['KeepCurves', 'read_curves']

_REMEDY = 'delete that line: only reports use the curves'


class KeepCurves(pl.Callback):
    """Write the logged metrics at the end of each epoch, as JSON lines; of a repeated epoch, the last line counts.

    At the end of the training, the same numbers are written beside them as a table, ``.csv``, a row per epoch.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove an incomplete last line left by a killed process."""
        if trainer.is_global_zero and self.path.exists():
            read_records(self.path, remedy=_REMEDY)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the metrics of the epoch."""
        if trainer.fit_loop.restarting:  # a resumed epoch that was already written
            return
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        finite = {name: value for name, value in logged.items() if math.isfinite(value)}
        if trainer.is_global_zero:
            append_record(self.path, {'epoch': trainer.current_epoch + 1, 'metrics': finite})

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write all epochs as a table."""
        if trainer.is_global_zero and self.path.exists():
            write_text(self.path.with_suffix('.csv'), _as_csv(read_curves(self.path)))


def read_curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Return ``{metric: [(epoch, value), ...]}``, with epochs from 1; empty if the file is missing."""
    records = read_records(path, remedy=_REMEDY) if path.exists() else []
    epochs = {record['epoch']: record['metrics'] for record in records}
    curves: dict[str, list[tuple[int, float]]] = {}
    for epoch in sorted(epochs):
        for name, value in epochs[epoch].items():
            curves.setdefault(name, []).append((epoch, value))
    return curves


def _as_csv(curves: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    columns = {name: dict(points) for name, points in sorted(curves.items())}
    epochs = sorted({epoch for points in columns.values() for epoch in points})
    text = io.StringIO()
    table = csv.writer(text, lineterminator='\n')
    table.writerow(['epoch', *columns])
    table.writerows([epoch, *(points.get(epoch, '') for points in columns.values())] for epoch in epochs)
    return text.getvalue()
