"""The full network, trained by the recipe of the networks that were found, for comparison."""

from __future__ import annotations

import contextlib
import math
from functools import partial
from pathlib import Path

from ...graph import ExampleInput
from ...pruning import Recipes
from ...ranks import is_first
from ...search import Scored
from ...space import WidthSpace
from ...stages import EvaluatorFactory, Finalist, Metric, locked_folder, train_finalist
from .prepare import Prepared

__all__ = ['FULL', 'train_full']

FULL = 'full'
"""The name of the full network, and of its folder in ``trained``."""


def train_full(prepared: Prepared, recipes: Recipes, metric: str, space: WidthSpace) -> float | None:
    """Train the full network from fresh weights, or resume its training; return its metric.

    None if the job does not ask for it, or does not train networks.
    """
    asked = prepared.configuration
    epochs, output = asked['training.finetune_epochs'], Path(asked['output'])
    if not asked['search.full'] or not epochs:
        return None
    widths = space.full_widths
    with locked_folder(output) if is_first() else contextlib.nullcontext():
        trained = train_finalist(
            Finalist(FULL, Scored(widths, space.macs(widths), space.params(widths), math.nan, {})),
            output / 'trained' / FULL,
            make=partial(space.slim, widths, weights=False),
            evaluators=EvaluatorFactory(recipes.slim('Training of the full network', epochs, ['train_loss', metric])),
            metric=Metric.of(recipes.module(), metric, None),
            seed=asked['seed'],
            example=ExampleInput.of(prepared.input, prepared.model),
        )
    return None if math.isnan(trained.metric) else trained.metric
