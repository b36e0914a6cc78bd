"""The space, evaluators and options that the stages of a run share."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import nni
import pytorch_lightning as pl
from nni.nas.evaluator.pytorch import Lightning
from torch import nn

from ..fingerprints import evaluator_record, loader_record, model_record, record_of
from ..options import FinalistOptions
from ..search import Scorer
from ..space import WidthSpace
from ..supernet import check_evaluator, training_loader, validation_loader
from .default_sizes import training_batches
from .evaluator_factory import EvaluatorFactory
from .finalists import Finalist, TrainedFinalist, candidate_names, finalist_names
from .folder import RunFolder
from .heldout_loss import HELDOUT_LOSS
from .options import RunOptions
from .ranking_metric import Metric
from .short_evaluators import ShortEvaluators
from .train_finalists import train_finalist
from .train_supernet import SupernetStage

__all__ = ['StageContext', 'named']

_PICKLE_LIMIT = 64 * 1024
"""Default limit, in bytes, for pickled arguments; NNI's environment variable PICKLE_SIZE_LIMIT overrides it."""


@dataclass
class StageContext:
    """Everything that a stage needs, in any process.

    Without a ``finalist_evaluator``, copies of ``evaluator`` train the finalists. ``budgets`` is ``(None,)`` for a
    single one.
    """

    space: WidthSpace
    evaluator: Lightning
    options: RunOptions
    finalists: FinalistOptions
    finalist_evaluator: Lightning | None = None
    budgets: Sequence[str | None] = (None,)

    def __post_init__(self) -> None:
        check_evaluator(self.evaluator)
        self._evaluators: EvaluatorFactory | None = None
        if self.finalist_evaluator is not None:
            check_evaluator(self.finalist_evaluator, 'finalist_evaluator')
        if self.finalists.trainings > 0:  # before the evaluator has run
            self._evaluators = EvaluatorFactory(self.finalist_evaluator or self.evaluator)

    @cached_property
    def supernet(self) -> SupernetStage:
        """The training stage of the supernet."""
        return SupernetStage(self.space, self.evaluator, self.options)

    @cached_property
    def loader(self) -> Any:
        """The training loader of the evaluator."""
        return self.supernet.loader if 'supernet' in vars(self) else training_loader(self.evaluator)

    @cached_property
    def scorer(self) -> Scorer:
        """The scorer; its batches are drawn on first access."""
        return self.supernet.scorer()

    def possible_trainings(self) -> list[tuple[str, int | None]]:
        """Return ``(name, epochs)`` of every network that the run may train; ``epochs`` is None for a full training."""
        full: list[tuple[str, int | None]] = [(name, None) for name in finalist_names(self.finalists, self.budgets)]
        halving = self.finalists.halving
        return full + [
            (name, epochs)
            for epochs in (() if halving is None else halving.epochs)
            for name in candidate_names(self.finalists, self.budgets)
        ]

    @property
    def trainings(self) -> int:
        """The number of trainings of single networks, short and full."""
        return self.finalists.trainings * len(self.budgets)

    @cached_property
    def metric(self) -> Metric:
        """The metric that ranks finalists."""
        module = (self.finalist_evaluator or self.evaluator).module
        return Metric.of(module, self.finalists.metric, self.finalists.higher_is_better)

    @property
    def metric_name(self) -> str:
        """The name of the metric that ranks finalists, as the ``validation_step`` logs it."""
        return self.metric.name or 'val_loss'

    @property
    def shown_metric(self) -> str | None:
        """The metric that ranks finalists if the supernet is to compute it beside the score; see `ShownMetric`."""
        return None if self.options.score == self.metric_name else self.metric_name

    @property
    def short_metric(self) -> Metric:
        """The metric that ranks short trainings: the score of the run, on held-out training data."""
        score = self.options.score
        return Metric(HELDOUT_LOSS if score == 'loss' else score, self.options.higher_is_better)

    def finalist_batches(self) -> int | None:
        """Return the number of batches of a finalist's training; None if it is not known before."""
        evaluator, loader = self._of_finalists
        return training_batches(evaluator.trainer, loader)

    @property
    def finalist_epochs(self) -> int:
        """The epochs of a finalist's training; 0 if they are not limited."""
        return max(0, (self.finalist_evaluator or self.evaluator).trainer.max_epochs or 0)

    def train_finalist(
        self, finalist: Finalist, folder: RunFolder, callbacks: Sequence[pl.Callback] = ()
    ) -> TrainedFinalist:
        """Train a finalist or resume its training; see `train_finalist`."""
        if self._evaluators is None:
            raise RuntimeError('This run trains no finalists.')
        full, epochs = self._evaluators, finalist.epochs
        return train_finalist(
            finalist,
            folder.training(finalist.folder, epochs),
            make=lambda: self._start_of(finalist),
            evaluators=full if epochs is None else ShortEvaluators(full, epochs, self.options),
            metric=self.metric if epochs is None else self.short_metric,
            shown=None if epochs is None else self.metric,
            seed=self.options.seed,
            example=self.space.example_input,
            callbacks=callbacks,
        )

    # --- fingerprints of the stages, taken before training ----------------------------------------------

    def supernet_record(self) -> dict[str, Any]:
        """Return the fingerprint of the supernet's training: model, data, evaluator, options and code."""
        space, options = self.space, self.options
        return {
            'seed': options.seed,
            'sharing': named(options.sharing),
            'channel_sets_per_step': options.channel_sets_per_step,
            'training': repr(options.training),
            'holdout': options.holdout if options.score_data is None else 'score_data',
            'macs': space.macs(space.full_widths),
            'evaluator': {**self._training[0], 'train_dataloaders': loader_record(self.loader)},
            'choices': {label: list(widths) for label, widths in space.choices.items()},
            **model_record(space.full_model),
        }

    def scores_record(self) -> dict[str, Any]:
        """Return the fingerprint of the scores, without the supernet's."""
        options = self.options
        return {
            'score': options.score,
            'higher_is_better': options.higher_is_better,
            'channel_sets_per_score': options.channel_sets_per_score,
            'temperature': 'fitted' if options.temperature is None else options.temperature,
            'statistics_batches': options.statistics_batches,
            'score_data': self._score_data,
            **({} if options.score == 'loss' else {'metrics': self._training[1]}),
        }

    def training_record(self, epochs: int | None = None) -> dict[str, Any]:
        """Return the fingerprint of a single network's training, without its widths; `epochs` selects a short one."""
        options, training = self.options, dict(self._evaluator_record)
        record: dict[str, Any] = {'seed': options.seed, 'finalist_weights': self.finalists.weights}
        if self.finalists.weights == 'inherited':
            record['statistics_batches'] = options.statistics_batches
        if epochs is None:
            return {**record, 'finalist_evaluator': training}
        del training['val_dataloaders']
        training['max_epochs'] = epochs
        scores = {'score': options.score, 'score_data': self._score_data}
        return {**record, 'holdout': options.holdout, **scores, 'finalist_evaluator': training}

    @cached_property
    def _training(self) -> tuple[dict[str, Any], Any]:
        """The evaluator's fingerprint, and apart from it the metrics that do not affect training."""
        record = evaluator_record(self.evaluator)
        if 'code' in record:  # a custom module may train with its metrics
            return record, None
        task = dict(record['task']) if isinstance(record.get('task'), dict) else {}
        metrics = [record.pop('metrics', None), task.pop('metrics', None)]
        return {**record, **({'task': task} if task else {})}, metrics

    @cached_property
    def _evaluator_record(self) -> dict[str, Any]:
        evaluator, own = self._of_finalists
        loaders = {'train_dataloaders': own, 'val_dataloaders': validation_loader(evaluator)}
        return {**evaluator_record(evaluator), **{name: loader_record(each) for name, each in loaders.items()}}

    @cached_property
    def _of_finalists(self) -> tuple[Lightning, Any]:
        """The evaluator of finalists and its training loader."""
        evaluator = self.finalist_evaluator or self.evaluator
        return evaluator, self.loader if evaluator is self.evaluator else training_loader(evaluator)

    @cached_property
    def _score_data(self) -> Any:
        return loader_record(self.options.score_data)

    def _start_of(self, finalist: Finalist) -> nn.Module:
        if self.finalists.weights == 'inherited':
            slim = self.scorer.slim(finalist.scored).train()  # Lightning keeps the mode of each module
            for name in self.supernet.module.frozen_statistics:
                slim.get_submodule(name).eval()
            return slim
        return self.space.slim(finalist.scored.widths, weights=False)

    # --- to another process -----------------------------------------------------------------------

    def dump(self) -> str:
        """Serialize this object for another process."""
        limit = int(os.environ.get('PICKLE_SIZE_LIMIT', _PICKLE_LIMIT))
        space = self.space
        parts = {
            'space': {'symbol': space.trace_symbol, 'args': space.trace_args, 'kwargs': space.trace_kwargs},
            'evaluator': self.evaluator,
            'options': self.options,
            'finalists': self.finalists,
            'finalist_evaluator': self.finalist_evaluator,
        }
        text: str = nni.dump(parts, pickle_size_limit=limit)
        return text

    def with_evaluators_of(self, text: str) -> StageContext:
        """Return a copy whose evaluators and options are restored from the output of `dump`."""
        parts = json.loads(text)
        made = [nni.load(json.dumps(parts[name])) for name in ('evaluator', 'options', 'finalist_evaluator')]
        return StageContext(self.space, made[0], made[1], self.finalists, made[2], self.budgets)

    @classmethod
    def load(cls, text: str) -> StageContext:
        """Restore a context from `dump`. The space is rebuilt with new weights."""
        parts: Mapping[str, Any] = nni.load(text)
        call = parts['space']
        space = call['symbol'](*(call['args'] or ()), **(call['kwargs'] or {}))
        return cls(space, parts['evaluator'], parts['options'], parts['finalists'], parts['finalist_evaluator'])


def named(value: Any) -> Any:
    """Return the `repr` of an object of this package, or the fingerprint of a user's object."""
    return repr(value) if type(value).__module__.startswith('nni_cafenet.') else record_of(value)
