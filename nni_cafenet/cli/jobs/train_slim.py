"""Train the slim networks of a finished job again: from scratch, or from their weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from ...errors import TrainingDivergedError
from ...graph import ExampleInput
from ...options import TrainingRecipe
from ...ranks import from_first, is_first, named_lost_ranks
from ...search import Scored
from ...space import WidthMutator
from ...stages import EvaluatorFactory, Finalist, Metric, keep_settings, locked_folder, train_finalist
from ...utils import as_table, format_count, suppress_training_logs
from ..config import Configuration
from .job_folder import JobRecord
from .job_space import space_options
from .prepare import Prepared
from .saved_network import SavedNetwork
from .training import recipes_of

__all__ = ['RECORD', 'SlimTraining', 'run_slim_training', 'trainings_table']

RECORD = 'train.json'
"""The file with the settings of a training."""


@dataclass(frozen=True)
class SlimTraining:
    """The result of a training: the metric on the validation data, and the folder of network, result and curves."""

    network: SavedNetwork
    metric: str
    value: float
    folder: Path


@named_lost_ranks()
def run_slim_training(
    prepared: Prepared, record: JobRecord, network: SavedNetwork, folder: Path, *, inherited: bool
) -> SlimTraining:
    """Train a slim network, or resume its training in ``folder``.

    The epochs are ``training.finetune_epochs`` of the configuration. Training starts from ``inherited`` or from fresh
    weights. A folder with another training raises ResumeError with a list of the differences.
    """
    asked = prepared.configuration
    recipes, metric = recipes_of(prepared)
    folder.mkdir(parents=True, exist_ok=True)
    from_first(lambda: keep_settings(folder / RECORD, _settings(asked, network, inherited)))
    with suppress_training_logs(), locked_folder(folder) if is_first() else contextlib.nullcontext():
        trained = train_finalist(
            Finalist(network.name or 'slim', Scored(network.widths, network.macs, network.params, math.nan, {})),
            folder,
            make=partial(network.load, prepared.make) if inherited else _fresh(prepared, record, network),
            evaluators=EvaluatorFactory(
                recipes.slim('Training', asked['training.finetune_epochs'], ['train_loss', metric])
            ),
            metric=Metric.of(recipes.module(), metric, None),
            seed=asked['seed'],
            example=ExampleInput.of(prepared.input, prepared.model),
        )
    if math.isnan(trained.metric):
        for name in ('widths.json', 'slim.pt', 'buffers.pt'):
            (folder / name).unlink(missing_ok=True)
        raise TrainingDivergedError(
            f'Training of {network.name or "the slim network"} has diverged: its outputs or its {metric} are not '
            f'finite, so nothing is returned. Lower --lr, and give another --output than {str(folder)!r}.'
        )
    return SlimTraining(network, metric, trained.metric, folder)


def _fresh(prepared: Prepared, record: JobRecord, network: SavedNetwork) -> Callable[[], nn.Module]:
    """Return a function that makes the network with fresh weights."""
    # A pruning job may have left the smallest widths open; here the widths are known.
    options = {**space_options(record.configuration), 'min_ratio': 0}
    with suppress_training_logs():
        space = WidthMutator(**options).mutate(prepared.make, example_input=record.input)
    return partial(space.slim, network.widths, weights=False)


def _settings(asked: Configuration, network: SavedNetwork, inherited: bool) -> dict[str, Any]:
    fields = ('data.source', 'data.batch_size', 'data.validation', 'data.fraction', 'seed', 'precision')
    recipe = [each.name for each in TrainingRecipe.options() if each.name != 'loggers']
    training = ('finetune_epochs', 'loss', 'metric', *recipe)
    return {
        'widths': network.widths,
        'weights': 'inherited' if inherited else 'fresh',
        **{path: asked[path] for path in fields},
        **{f'training.{name}': asked[f'training.{name}'] for name in training},
    }


def trainings_table(trainings: Sequence[SlimTraining]) -> str:
    """Return trainings as a table for the terminal."""
    rows = [
        [
            each.network.name or 'slim',
            format_count(each.network.macs),
            format_count(each.network.params),
            f'{each.value:.4f}',
        ]
        for each in trainings
    ]
    return as_table(['network', 'MACs', 'params', trainings[0].metric], rows, align='lrrr')
