"""All that a stage of a run needs, in whatever process it runs: the space, the evaluators, the options."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import nni
import pytorch_lightning as pl
from nni.nas.evaluator.pytorch import Lightning
from torch import nn

from ..search.scoring import Scorer
from ..space.width_space import WidthSpace
from ..supernet.evaluator import check_evaluator
from .finalists import Finalist, Metric, TrainedFinalist, candidate_names, finalist_names, train_finalist
from .folder import RunFolder
from .fresh_evaluator import FreshEvaluators
from .heldout_loss import HELDOUT_LOSS
from .options import FinalistOptions, RunOptions
from .short_evaluators import ShortEvaluators
from .supernet import SupernetRun

__all__ = ['RunSetup']

_PICKLE_LIMIT = 64 * 1024
"""Bytes of an object that travels pickled because it is not traced; NNI's own limit, which PICKLE_SIZE_LIMIT changes."""


@dataclass
class RunSetup:
    """All that a stage of a run needs.

    Parameters
    ----------
    space
        The supernet.
    evaluator
        Trains it; used by nothing else.
    options
        What the run is asked for.
    finalists
        How the best widths are trained.
    finalist_evaluator
        Trains them; None: as `evaluator` does.
    budgets
        Names of the run's budgets, where it has several.
    """

    space: WidthSpace
    evaluator: Lightning
    options: RunOptions
    finalists: FinalistOptions
    finalist_evaluator: Lightning | None = None
    budgets: Sequence[str | None] = (None,)

    def __post_init__(self) -> None:
        check_evaluator(self.evaluator)
        self._evaluators: FreshEvaluators | None = None
        if self.finalist_evaluator is not None:
            check_evaluator(self.finalist_evaluator, 'finalist_evaluator')
        if self.finalists.trainings > 0:  # before the evaluator has run
            self._evaluators = FreshEvaluators(self.finalist_evaluator or self.evaluator)

    @cached_property
    def supernet(self) -> SupernetRun:
        """The supernet, its data and its training."""
        return SupernetRun(self.space, self.evaluator, self.options)

    @cached_property
    def scorer(self) -> Scorer:
        """Scores widths on the supernet as it is when this is first asked for."""
        return self.supernet.scorer()

    def possible_trainings(self) -> list[tuple[str, int | None]]:
        """Return the names of all networks that the run may train, each with the epochs of a short training or None."""
        full: list[tuple[str, int | None]] = [(name, None) for name in finalist_names(self.finalists, self.budgets)]
        halving = self.finalists.halving
        return full + [
            (name, epochs)
            for epochs in (() if halving is None else halving.epochs)
            for name in candidate_names(self.finalists, self.budgets)
        ]

    @property
    def trainings(self) -> int:
        """How many trainings of single networks the run has, short and full ones."""
        return self.finalists.trainings * len(self.budgets)

    @cached_property
    def metric(self) -> Metric:
        """What finalists are ranked by."""
        module = (self.finalist_evaluator or self.evaluator).module
        return Metric.of(module, self.finalists.metric, self.finalists.higher_is_better)

    @property
    def short_metric(self) -> Metric:
        """What short trainings are ranked by: the score of the run, on held-out training data."""
        score = self.options.score
        return Metric(HELDOUT_LOSS if score == 'loss' else score, self.options.higher_is_better)

    def train_finalist(
        self, finalist: Finalist, folder: RunFolder, callbacks: Sequence[pl.Callback] = ()
    ) -> TrainedFinalist:
        """Train a finalist, or take up where its checkpoint stands (see `train_finalist`)."""
        if self._evaluators is None:
            raise RuntimeError('This run has no finalists.')
        full, epochs = self._evaluators, finalist.epochs
        return train_finalist(
            finalist,
            folder.training(finalist.name, epochs),
            make=lambda: self._start_of(finalist),
            evaluators=full if epochs is None else ShortEvaluators(full, epochs, self.options),
            metric=self.metric if epochs is None else self.short_metric,
            seed=self.options.seed,
            callbacks=callbacks,
        )

    def _start_of(self, finalist: Finalist) -> nn.Module:
        if self.finalists.weights == 'inherited':
            slim = self.scorer.slim(finalist.scored).train()  # Lightning trains it in the mode that it is in
            for name in self.supernet.module.frozen_statistics:
                slim.get_submodule(name).eval()
            return slim
        return self.space.slim(finalist.scored.widths, weights=False)

    # --- to another process -----------------------------------------------------------------------

    def dump(self) -> str:
        """Return what another process makes this object of, as text."""
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

    @classmethod
    def load(cls, text: str) -> RunSetup:
        """Make the object again. The space is built anew, with weights of its own."""
        parts: Mapping[str, Any] = nni.load(text)
        recipe = parts['space']
        space = recipe['symbol'](*(recipe['args'] or ()), **(recipe['kwargs'] or {}))
        return cls(space, parts['evaluator'], parts['options'], parts['finalists'], parts['finalist_evaluator'])
