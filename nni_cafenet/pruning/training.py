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
    """Device and precision of training.

    Parameters
    ----------
    device
        ``'auto'``, ``'cpu'``, ``'cuda'``, ``'cuda:1'`` or ``'mps'``.
    precision
        Lightning's precision: ``'32-true'``, ``'16-mixed'``, ``'bf16-mixed'``.

    Raises
    ------
    ValueError
        If the device is unknown or not available.
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
    """Return an evaluator for a task and its loaders.

    Parameters
    ----------
    task
        The loss and the metrics.
    train, validate
        Loaders of training and validation batches ``(inputs, target)``.
    optimizer
        Creates the optimizer; default: see `TaskModule`.
    trainer
        Device and precision.
    """
    return Lightning(
        TaskModule(task, optimizer),
        Trainer(**SILENT, **trainer.as_arguments()),
        train_dataloaders=train,
        val_dataloaders=validate,
    )


class Recipes:
    """Creates evaluators for the stages of a run.

    Parameters
    ----------
    evaluator
        An evaluator that has not run yet. It is copied.
    teacher
        The teacher for distillation; None: no distillation.
    bars
        Show this package's progress bar for each training.
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
