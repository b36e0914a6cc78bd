"""Training recipes of jobs without trained weights."""

from __future__ import annotations

from ...pruning import Recipes, check_score, task_evaluator, task_of
from .prepare import Prepared, trainer_of

__all__ = ['recipes_of']


def recipes_of(prepared: Prepared) -> tuple[Recipes, str]:
    """Return the evaluators of a job, and the name of the metric that ranks its networks.

    Raises ValueError or TypeError if the model, its data, its loss and its metric do not fit each other.
    """
    configuration, data, recipe = prepared.configuration, prepared.data, prepared.recipe
    seed = configuration['seed']
    task = task_of(prepared.loss, prepared.metric, prepared.model, data.train, data.validate, recipe=recipe, seed=seed)
    check_score(configuration['search.score'], task)
    evaluator = task_evaluator(task, data.train, data.validate, trainer=trainer_of(configuration), recipe=recipe)
    recipes = Recipes(evaluator, teacher=None, bars=True, recipe=recipe)
    return recipes, task.ranking
