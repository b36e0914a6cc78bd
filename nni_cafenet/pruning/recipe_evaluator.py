"""An evaluator for NNI that trains by a recipe."""

from __future__ import annotations

from typing import Any

from nni.nas.evaluator.pytorch import Lightning
from torch import nn

from ..options import RecipeOptions, TrainingRecipe
from ..utils import check_instance, suppress_training_logs
from .checks import task_of
from .trainer_options import TrainerOptions
from .training import Recipes, task_evaluator

__all__ = ['training_evaluator']


def training_evaluator(
    recipe: TrainingRecipe,
    *,
    model: nn.Module,
    train: Any,
    validate: Any,
    epochs: int,
    loss: Any = None,
    metric: Any = None,
    supernet: bool = False,
    device: str = 'auto',
    precision: str = '32-true',
    devices: int | None = None,
    nodes: int | None = None,
    strategy: str = 'auto',
) -> Lightning:
    """Return an NNI evaluator that trains a network, or a supernet, by a recipe.

    With one recipe for both, ``NasExperiment(space, training_evaluator(recipe, supernet=True, ...), CafeNet(budget,
    ema=recipe.ema, finalists=2, finalist_evaluator=training_evaluator(recipe, ...)))`` compares networks that are trained
    alike.

    Parameters
    ----------
    recipe
        How to train.
    model
        The full network, on which loss, metric and data are tried; it is not changed.
    train, validate
        Loaders of ``(inputs, target)``.
    epochs
        Epochs of the training, 1 or more.
    loss, metric
        As in `prune`.
    supernet
        For the supernet: it is not compiled, and its average (``ema``) is that of `CafeNet`.
    device, precision, devices, nodes, strategy
        As in `prune`.

    Raises
    ------
    ValueError, TypeError
        If the recipe, the data, the model, the loss and the metric do not fit each other.
    nni_cafenet.errors.MissingExtraError
        If the package of a logger is not installed.
    """
    check_instance('recipe', recipe, TrainingRecipe, "TrainingRecipe(optimizer='sgd', lr=0.1)")
    epochs = RecipeOptions.check('epochs', epochs)
    trainer = TrainerOptions(str(device), precision, devices, nodes, strategy)
    task = task_of(loss, metric, model, train, validate, recipe=recipe, seed=0)
    with suppress_training_logs():
        evaluator = task_evaluator(task, train, validate, trainer=trainer, recipe=recipe)
        recipes = Recipes(evaluator, teacher=None, bars=True, recipe=recipe)
        if supernet:
            return recipes.supernet(epochs)
        return recipes.slim('Training', epochs, ['train_loss', task.ranking])
