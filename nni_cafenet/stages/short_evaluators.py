"""Evaluators for short trainings: the user's, with fewer epochs and held-out training data."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from nni.nas.evaluator.pytorch import Lightning

from ..supernet import TrainingData, batches_begun, training_loader, with_data
from .evaluator_factory import EvaluatorFactory
from .heldout_loss import HeldoutLoss
from .options import RunOptions

__all__ = ['ShortEvaluators']


class ShortEvaluators:
    """Creates evaluators for short trainings, validated after the last epoch on held-out training data.

    All trainings hold out the same samples. The user's validation data is not read; step limits are removed.
    """

    def __init__(self, evaluators: EvaluatorFactory, epochs: int, options: RunOptions) -> None:
        self._evaluators = evaluators
        self._epochs = epochs
        self._options = options

    def make(self) -> Lightning:
        """Return a fresh evaluator."""
        options, epochs = self._options, self._epochs
        every = self._evaluators.trainer_option('check_val_every_n_epoch', 1) or epochs
        trainer: dict[str, Any] = {
            'max_epochs': epochs,
            'max_steps': -1,
            'min_epochs': None,
            'min_steps': None,
            'check_val_every_n_epoch': math.gcd(int(every), epochs),
        }
        if options.score != 'loss':
            trainer['limit_val_batches'] = 1.0
        evaluator = self._evaluators.make(**trainer)
        data = TrainingData(
            training_loader(evaluator),
            holdout=options.holdout,
            seed=options.seed,
            score_loader=options.score_data,
            epoch=partial(batches_begun, evaluator.trainer),
        )
        evaluator.trainer.callbacks.append(HeldoutLoss(data.heldout, options.seed))
        return with_data(evaluator, evaluator.module, data)

    def loader(self, evaluator: Lightning) -> Any:
        """Return the training loader of an evaluator from `make`."""
        loader = evaluator.train_dataloaders
        return evaluator.datamodule.train_dataloader() if loader is None else loader
