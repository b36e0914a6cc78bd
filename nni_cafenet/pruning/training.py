"""Evaluators for the supernet and the pruned networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from nni.nas.evaluator.pytorch import Lightning, LightningModule, Trainer
from torch import nn

from ..options import TrainingRecipe
from ..stages import EpochBar, EvaluatorFactory, MetricsMonitor, check_loggers
from ..supernet import ValidatedAverage
from .distillation import distilling
from .objective import Task
from .recipe import trainer_arguments
from .task_module import OptimizerFactory, TaskModule

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
    task: Task,
    train: Any,
    validate: Any,
    *,
    trainer: TrainerOptions,
    recipe: TrainingRecipe | None = None,
    optimizer: OptimizerFactory | None = None,
) -> Lightning:
    """Return an evaluator for a task and its loaders of batches ``(inputs, target)``; see `TaskModule`."""
    recipe = TrainingRecipe() if recipe is None else recipe
    check_loggers(recipe.loggers or ())
    return Lightning(
        TaskModule(task, optimizer, replace(recipe, loggers=None)),  # loggers change no result
        Trainer(**SILENT, **trainer.as_arguments(), **trainer_arguments(recipe)),
        train_dataloaders=train,
        val_dataloaders=validate,
    )


class Recipes:
    """Creates evaluators for the stages of a run, as copies of one that has not run yet.

    Without a ``teacher`` there is no distillation. ``bars`` shows this package's progress bar for each training. A
    ``recipe`` adds what differs between the supernet and slim networks: their average, compilation, and loggers.
    """

    def __init__(
        self, evaluator: Lightning, *, teacher: nn.Module | None, bars: bool, recipe: TrainingRecipe | None = None
    ) -> None:
        self._plain = EvaluatorFactory(evaluator)
        self._bars = bars
        self._recipe = TrainingRecipe() if recipe is None else recipe
        self._taught = self._plain
        if teacher is not None:
            fresh = self._plain.make()
            fresh.module = distilling(fresh.module, teacher)
            self._taught = EvaluatorFactory(fresh)

    def supernet(self, epochs: int) -> Lightning:
        """Return an evaluator that trains the supernet; its average is that of `CafeNet`."""
        return self._training('Supernet', epochs, ['cafenet/loss'], [])

    def few_steps(self, steps: int, watch: Any) -> Lightning:
        """Return an evaluator that trains for a few steps only, without validation, watched by a callback."""
        limits = {'max_epochs': 1, 'limit_train_batches': steps, 'limit_val_batches': 0}
        return self._taught.make(**limits, callbacks=[watch])

    def slim(self, name: str, epochs: int, metrics: Sequence[str] = ()) -> Lightning:
        """Return an evaluator that trains slim networks."""
        ema = self._recipe.ema
        made = self._training(name, epochs, metrics, [] if ema is None else [ValidatedAverage(ema)])
        if self._recipe.compile:
            made.module.compiles = True
        return made

    def _training(self, name: str, epochs: int, metrics: Sequence[str], callbacks: list[Any]) -> Lightning:
        if self._bars:
            callbacks.append(EpochBar(name, metrics))
        if self._recipe.loggers:
            callbacks.append(MetricsMonitor(self._recipe.loggers))
        return self._taught.make(max_epochs=epochs, **({'callbacks': callbacks} if callbacks else {}))

    def module(self) -> LightningModule:
        """Return a fresh copy of the user's module."""
        module: LightningModule = self._plain.make().module
        return module

    def validation(self) -> Lightning:
        """Return an evaluator for validation, without distillation."""
        return self._plain.make()
