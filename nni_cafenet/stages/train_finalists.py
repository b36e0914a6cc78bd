"""Training of finalists: the best widths and the uniform baseline, each with the user's evaluator."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nni
import pytorch_lightning as pl
from nni.nas.evaluator.pytorch import LightningModule, SupervisedLearningModule
from torch import nn

from ..graph import ExampleInput
from ..options import FinalistOptions, epochs_text
from ..search import Scored, better_when_higher
from ..slim import save_slim
from ..supernet import RestoreRandomState, SaveEveryEpoch
from ..utils import read_record, seeded, write_record
from .captured_results import CapturedResults, taken_reports
from .evaluator_factory import EvaluatorFactory
from .finite_outputs import computes_numbers
from .folder import check_checkpoint
from .interruption import keyboard_interrupts
from .short_evaluators import ShortEvaluators
from .training_curves import KeepCurves

__all__ = [
    'BASELINE',
    'Finalist',
    'Metric',
    'TrainedFinalist',
    'candidate_names',
    'finalist_name',
    'finalist_names',
    'train_finalist',
    'trainings_title',
]

BASELINE = 'uniform'
"""Name of the uniformly scaled baseline network."""

_logger = logging.getLogger(__name__)


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
        """Return the final result of its NNI trial: the metric as ``default``, cost and search score."""
        scored = self.finalist.scored
        result = {'default': self.metric, 'macs': scored.macs, 'params': scored.params}
        return result if math.isnan(scored.score) else {**result, 'search_score': scored.score}


@dataclass(frozen=True)
class Metric:
    """The metric that ranks trained networks; None: the result reported to NNI, else ``val_loss``.

    An ``inferred`` name comes from the module, so a result reported to NNI also counts.
    """

    name: str | None
    higher_is_better: bool
    inferred: bool = False

    @classmethod
    def of(cls, module: LightningModule, name: str | None, higher_is_better: bool | None) -> Metric:
        """Infer a missing name and direction from the module."""
        inferred = False
        if name is None and isinstance(module, SupervisedLearningModule) and len(module.metrics) == 1:
            inferred, name = True, f'val_{next(iter(module.metrics))}'
        if higher_is_better is None:
            higher_is_better = name is None or better_when_higher(name)
        return cls(name, higher_is_better, inferred)

    def value(self, reported: Any, logged: Mapping[str, float]) -> float | None:
        """Return the metric from the reported and logged results; None if neither contains it."""
        if self.name is not None and self.name in logged:
            return logged[self.name]
        if self.name is not None and not self.inferred:
            found = reported.get(self.name) if isinstance(reported, Mapping) else None
            return None if found is None else float(found)
        if isinstance(reported, Mapping):
            reported = reported.get('default', reported.get(self.name))
        if reported is not None:
            return float(reported)
        return None if self.name is not None else logged.get('val_loss')

    def fitness(self, value: float) -> float:
        """Return a value with its sign set so that higher is better; NaN is worst."""
        return -math.inf if math.isnan(value) else value if self.higher_is_better else -value


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


def train_finalist(
    finalist: Finalist,
    folder: Path,
    *,
    make: Callable[[], nn.Module],
    evaluators: EvaluatorFactory | ShortEvaluators,
    metric: Metric,
    seed: int,
    example: ExampleInput | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> TrainedFinalist:
    """Train a network, or resume from its checkpoint; a finished training is only read.

    ``make`` builds the network, with all RNGs seeded. With an example input, a network with a non-finite output gets
    the metric NaN. A metric that is neither logged nor reported raises ValueError once the network is saved; a damaged
    checkpoint raises `ResumeError`.
    """
    done = read_result(finalist, folder, metric)
    checkpoint = folder / 'checkpoint.ckpt'
    if done is not None:
        checkpoint.unlink(missing_ok=True)  # the process may have been killed before
        return done
    folder.mkdir(parents=True, exist_ok=True)
    with seeded(seed):
        model = make()
        evaluator = evaluators.make()
        trainer = evaluator.trainer
        if checkpoint.exists():
            check_checkpoint(checkpoint)
            evaluator.fit_kwargs['ckpt_path'] = str(checkpoint)
        with taken_reports(lambda value: {**_as_dict(value), 'default': _default(value, trainer, metric)}) as reports:
            trainer.callbacks.extend(
                [
                    *callbacks,
                    _ReportEpochs(reports, metric),
                    KeepCurves(folder / 'curves.jsonl'),
                    SaveEveryEpoch(checkpoint, last=False),
                    RestoreRandomState(evaluators.loader(evaluator)),
                ]
            )
            with keyboard_interrupts(trainer):
                evaluator.evaluate(model)
    result = TrainedFinalist(finalist, math.nan, _logged(trainer))
    if trainer.is_global_zero:
        scored = finalist.scored
        costs = {'macs': scored.macs, 'params': scored.params}
        save_slim(model.cpu(), folder, scored.widths, example_input=example, **costs)
    finite = computes_numbers(model.cpu(), example)
    if not finite:
        _logger.warning('%s diverged: its weights or outputs are not finite. It is not returned.', finalist.title)
    record = {
        **finalist.to_json(),
        'finite': finite,
        'ranked_by': metric.name,
        'reported': _reported(reports.final),
        'metrics': result.metrics,
    }
    value = _value(record, metric, folder)
    result = TrainedFinalist(finalist, value, result.metrics)
    if trainer.is_global_zero:
        write_record(folder / 'result.json', {**record, 'metric': None if math.isnan(value) else value})
        checkpoint.unlink(missing_ok=True)
    return result


def read_result(finalist: Finalist, folder: Path, metric: Metric | None = None) -> TrainedFinalist | None:
    """Read the result of a finished training; None if it is unfinished.

    ``metric`` is any that was logged, by default the one of the training; ValueError if it was not.
    """
    path = folder / 'result.json'
    if not path.exists():
        return None
    record = read_record(path, remedy='delete it to train that network again')
    if Finalist.from_json(record).scored.widths != finalist.scored.widths:
        return None
    if metric is not None and 'reported' in record:
        return TrainedFinalist(finalist, _value(record, metric, folder), record['metrics'])
    return TrainedFinalist(finalist, math.nan if record['metric'] is None else record['metric'], record['metrics'])


def _value(record: Mapping[str, Any], metric: Metric, folder: Path) -> float:
    asked = metric.name == record.get('ranked_by', metric.name)  # the reported result belongs to that metric only
    value = metric.value(record['reported'] if asked else None, record['metrics'])
    if not record.get('finite', True):
        return math.nan
    if value is None:
        raise ValueError(
            f'metric={metric.name!r}: the evaluator logged no such metric for the trained network in {folder}. '
            f'It logged {", ".join(sorted(record["metrics"])) or "nothing"}: log it in validation_step, or name another.'
        )
    return value if math.isfinite(value) else math.nan


def _reported(value: Any) -> Any:
    """Return a result reported to NNI, JSON-serializable."""
    if isinstance(value, Mapping):
        return {str(name): _reported(each) for name, each in value.items()}
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


class _ReportEpochs(pl.Callback):
    """Report the metric of each epoch to NNI unless the user's module does."""

    def __init__(self, reports: CapturedResults, metric: Metric) -> None:
        self._reports = reports
        self._metric = metric
        self._before = 0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.fit_loop.restarting:  # a resumed epoch that was already reported
            return
        value = self._metric.value(None, _logged(trainer))
        if self._reports.intermediate == self._before and value is not None and nni.get_current_parameter() is not None:
            nni.report_intermediate_result(value)
        self._before = self._reports.intermediate


def _logged(trainer: pl.Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def _as_dict(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _default(value: Any, trainer: pl.Trainer, metric: Metric) -> Any:
    found = metric.value(value, _logged(trainer))
    return value if found is None else found
