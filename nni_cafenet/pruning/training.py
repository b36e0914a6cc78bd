"""Evaluators for the supernet and the pruned networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nni.nas.evaluator.pytorch import Lightning, LightningModule, Trainer
from torch import nn

from ..options import TrainingRecipe
from ..stages import EpochBar, EvaluatorFactory, MetricsMonitor, check_loggers
from ..supernet import ValidatedAverage
from .distillation import distilling
from .objective import Task
from .recipe import trainer_arguments
from .task_module import OptimizerFactory, TaskModule
from .trainer_options import TrainerOptions

__all__ = ['SILENT', 'Recipes', 'task_evaluator']

SILENT: dict[str, Any] = {
    'logger': False,
    'enable_checkpointing': False,
    'enable_progress_bar': False,
    'enable_model_summary': False,
    'num_sanity_val_steps': 0,
}
"""Trainer options: this package shows its own progress bars and stores state in the run's folder."""


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
        """Return an evaluator that trains for a few steps on one device, without validation, watched by a callback."""
        limits = {'max_epochs': 1, 'limit_train_batches': steps, 'limit_val_batches': 0}
        return self._taught.make_alone(**limits, callbacks=[watch])

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
        """Return an evaluator for validation by one process, without distillation."""
        return self._plain.make_alone()
