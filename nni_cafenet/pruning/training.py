"""Evaluators for the supernet and the pruned networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from nni.nas.evaluator.pytorch import Lightning, LightningModule, Trainer
from torch import nn

from ..stages import EpochBar, EvaluatorFactory
from .distillation import distilling
from .objective import OptimizerFactory, Task, TaskModule

__all__ = ['SILENT', 'Recipes', 'TrainerOptions', 'task_evaluator']

SILENT: dict[str, Any] = {
    'logger': False,
    'enable_checkpointing': False,
    'enable_progress_bar': False,
    'enable_model_summary': False,
    'num_sanity_val_steps': 0,
}
"""Trainer options: this package shows its own progress bars and stores state in the run's folder."""


@dataclass(frozen=True)
class TrainerOptions:
    """Device and precision of training; a ValueError if the device is unknown or not available.

    Devices are ``'auto'``, ``'cpu'``, ``'cuda'``, ``'cuda:1'`` and ``'mps'``; precision is named as in Lightning.
    """

    device: str = 'auto'
    precision: str = '32-true'

    def __post_init__(self) -> None:
        kind, colon, index = self.device.partition(':') if isinstance(self.device, str) else ('', '', '')
        if kind not in ('auto', 'cpu', 'cuda', 'mps') or (colon and not (kind == 'cuda' and index.isdigit())):
            raise ValueError(f"device={self.device!r} must be 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'.")
        if kind == 'cuda' and not torch.cuda.is_available():
            raise ValueError(f"device={self.device!r}: torch finds no CUDA device. Use device='cpu'.")
        if colon and int(index) >= torch.cuda.device_count():
            raise ValueError(
                f'device={self.device!r}: there are only {torch.cuda.device_count()} CUDA devices, starting at cuda:0.'
            )
        if kind == 'mps' and not torch.backends.mps.is_available():
            raise ValueError(f"device={self.device!r}: torch finds no such device. Use device='cpu'.")

    def as_arguments(self) -> dict[str, Any]:
        """Return the options as arguments of Lightning's trainer."""
        kind, _, index = self.device.partition(':')
        devices: Any = [int(index)] if index else 1
        return {'accelerator': 'gpu' if kind == 'cuda' else kind, 'devices': devices, 'precision': self.precision}


def task_evaluator(
    task: Task, train: Any, validate: Any, *, optimizer: OptimizerFactory | None, trainer: TrainerOptions
) -> Lightning:
    """Return an evaluator for a task and its loaders of batches ``(inputs, target)``; see `TaskModule`."""
    return Lightning(
        TaskModule(task, optimizer),
        Trainer(**SILENT, **trainer.as_arguments()),
        train_dataloaders=train,
        val_dataloaders=validate,
    )


class Recipes:
    """Creates evaluators for the stages of a run, as copies of one that has not run yet.

    Without a ``teacher`` there is no distillation. ``bars`` shows this package's progress bar for each training.
    """

    def __init__(self, evaluator: Lightning, *, teacher: nn.Module | None, bars: bool) -> None:
        self._plain = EvaluatorFactory(evaluator)
        self._bars = bars
        self._taught = self._plain
        if teacher is not None:
            fresh = self._plain.make()
            fresh.module = distilling(fresh.module, teacher)
            self._taught = EvaluatorFactory(fresh)

    def training(self, name: str, epochs: int, metrics: Sequence[str] = ()) -> Lightning:
        """Return an evaluator that trains for `epochs` epochs."""
        options: dict[str, Any] = {'max_epochs': epochs}
        fresh = self._taught.make(**options)
        if self._bars:
            fresh = self._taught.make(**options, callbacks=[EpochBar(name, metrics)])
        return fresh

    def module(self) -> LightningModule:
        """Return a fresh copy of the user's module."""
        module: LightningModule = self._plain.make().module
        return module

    def validation(self) -> Lightning:
        """Return an evaluator for validation, without distillation."""
        return self._plain.make()
