"""The networks to be trained at the end of a run, and their names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..options import FinalistOptions, epochs_text
from ..search import Scored

__all__ = [
    'BASELINE',
    'Finalist',
    'TrainedFinalist',
    'candidate_names',
    'finalist_name',
    'finalist_names',
    'trainings_title',
]

BASELINE = 'uniform'
"""Name of the uniformly scaled baseline network."""


@dataclass(frozen=True)
class Finalist:
    """A network to be trained.

    Names are ``'1'`` for the best of the search, ``'2'``, ..., ``'uniform'`` for the baseline; with several budgets
    ``'1@50%'``. ``epochs`` are those of a short training on a part of the training data; None is the evaluator's full
    one. Identical trainings share a ``folder``; ``same_as`` names the earlier finalist that is trained for both.
    """

    name: str
    scored: Scored
    epochs: int | None = None
    folder: str = ''
    same_as: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, 'folder', self.folder or self.name)

    @property
    def is_baseline(self) -> bool:
        """Whether this is the uniform baseline."""
        return self.name.partition('@')[0] == BASELINE

    @property
    def budget(self) -> str | None:
        """The name of its budget; None if the run has only one."""
        return self.name.partition('@')[2] or None

    @property
    def title(self) -> str:
        """The name in tables."""
        kind = 'finalist' if self.epochs is None else 'candidate'
        title = _title(self.name, kind)
        return title if self.same_as is None else f'{title} = {_title(self.same_as, kind)}'

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serializable record."""
        epochs = {} if self.epochs is None else {'training_epochs': self.epochs}
        names = {'name': self.name, 'folder': self.folder, 'same_as': self.same_as}
        return {**names, **epochs, **self.scored.to_json()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Finalist:
        """Restore a finalist from `to_json`."""
        names = record.get('folder', ''), record.get('same_as')
        return cls(record['name'], Scored.from_json(record), record.get('training_epochs'), *names)


def _title(name: str, kind: str) -> str:
    rank, _, budget = name.partition('@')
    what = 'uniform (baseline)' if rank == BASELINE else f'{kind} {rank}'
    return f'{what}, {budget}' if budget else what


@dataclass(frozen=True)
class TrainedFinalist:
    """A trained finalist and its metrics: on validation data, or on held-out training data for short trainings."""

    finalist: Finalist
    metric: float
    metrics: dict[str, float] = field(default_factory=dict)

    def report(self) -> dict[str, float]:
        """Return the final result of its NNI trial: the metric as ``default``, and the ``score`` in the search."""
        score = self.finalist.scored.score
        return {'default': self.metric} if math.isnan(score) else {'default': self.metric, 'score': score}


def finalist_name(rank: int | str, budget: str | None) -> str:
    """Return the name of a finalist; `budget` is None if the run has only one."""
    return str(rank) if budget is None else f'{rank}@{budget}'


def finalist_names(options: FinalistOptions, budgets: Iterable[str | None]) -> list[str]:
    """Return the names of all possible finalists: every candidate under each budget, then the baselines."""
    if not options.number:
        return []
    baselines = [finalist_name(BASELINE, budget) for budget in budgets] if options.baseline else []
    names = candidate_names(options, budgets)
    return names + [name for name in baselines if name not in names]


def candidate_names(options: FinalistOptions, budgets: Iterable[str | None]) -> list[str]:
    """Return the names of all candidates from which finalists are selected."""
    ranks: list[int | str] = [*range(1, options.candidates + 1)]
    if options.drawn:
        ranks[-1] = BASELINE
    return [finalist_name(rank, budget) for budget in budgets for rank in ranks]


def trainings_title(finalists: Sequence[Finalist]) -> str:
    """Return the title of the finalists' progress bar."""
    epochs = finalists[0].epochs if finalists else None
    return 'Finalists' if epochs is None else f'Candidates, {epochs_text(epochs)}'
