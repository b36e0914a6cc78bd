"""Trained finalists as NNI models, and result tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nni.nas.space import ModelStatus, RawFormatModelSpace
from torch import nn

from ..search import Scored
from ..space import WidthSpace
from ..utils import as_table, format_count, load_torch
from .finalists import TrainedFinalist
from .ranking_metric import Metric

__all__ = ['TrainedModel', 'finalists_table', 'short_trainings_table', 'widths_table']

_COSTS = ('MACs', 'MACs %', 'params')


class TrainedModel(RawFormatModelSpace):
    """A trained finalist in the form that NNI exports; ``folder`` holds its weights."""

    def __init__(self, space: WidthSpace, trained: TrainedFinalist, folder: Path) -> None:
        super().__init__(space, None)
        self.trained = trained
        self.name = trained.finalist.name
        self.sample = dict(trained.finalist.scored.widths)
        self.status = ModelStatus.Trained
        self.metrics.final = trained.metric
        self._folder = folder

    def executable_model(self) -> nn.Module:
        """Return the slim model with its trained weights."""
        slim: nn.Module = self.model_space.slim(self.sample)
        remedy = 'delete result.json beside it to train that network again'
        slim.load_state_dict(load_torch(self._folder / 'slim.pt', remedy=remedy))
        return slim


def finalists_table(trained: Sequence[TrainedFinalist], space: WidthSpace, metric: Metric) -> str:
    """Return a table of trained finalists, best first."""
    rows = []
    for each in sorted(trained, key=lambda each: -metric.fitness(each.metric)):
        rows.append(
            [each.finalist.title, *_costs(each.finalist.scored, space), each.finalist.scored.score, each.metric]
        )
    return as_table(['network', *_COSTS, 'search score', metric.name or 'metric'], rows)


def short_trainings_table(
    trained: Sequence[TrainedFinalist], space: WidthSpace, metric: Metric, number: int = 5
) -> str:
    """Return a table of the `number` best networks by their last short training, and the baseline."""
    ranked = sorted(trained, key=lambda each: (-(each.finalist.epochs or 0), -metric.fitness(each.metric)))
    rows = [
        [rank, each.finalist.title, *_costs(each.finalist.scored, space), each.finalist.epochs, each.metric]
        for rank, each in enumerate(ranked, start=1)
        if rank <= number or each.finalist.is_baseline
    ]
    return as_table(['rank', 'network', *_COSTS, 'epochs', metric.name or 'metric'], rows)


def widths_table(scored: Sequence[Scored], space: WidthSpace, score: str) -> str:
    """Return a table of scored widths in the given order."""
    rows = [[rank, *_costs(each, space), each.score] for rank, each in enumerate(scored, start=1)]
    return as_table(['rank', *_COSTS, score], rows)


def _costs(scored: Scored, space: WidthSpace) -> list[str]:
    share = 100 * scored.macs / space.macs(space.full_widths)
    return [format_count(scored.macs), f'{share:.1f} %', format_count(scored.params)]
