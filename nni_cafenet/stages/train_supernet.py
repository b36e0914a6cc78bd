"""Supernet training, and the scorer for the trained supernet."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.space import ModelStatus, RawFormatModelSpace

from ..search import Scorer
from ..space import WidthSpace
from ..supernet import (
    MinMinModule,
    SaveEveryEpoch,
    TrainingData,
    WeightAverage,
    batches_begun,
    check_evaluator,
    has_ended,
    put_average,
    restore,
    to_device,
    training_loader,
    with_data,
)
from ..utils import restart_workers, seeded
from .folder import RunFolder
from .interruption import keyboard_interrupts
from .options import RunOptions
from .overtraining_check import WatchUniform, evaluating, overtraining
from .training_curves import KeepCurves

__all__ = ['SupernetStage']

_logger = logging.getLogger(__name__)


class SupernetStage:
    """Trains a supernet with the user's evaluator and scores widths on it.

    Of the user's evaluator only the trainer is used; ``self.evaluator`` is that of the min-min module, ``self.loader``
    the user's training loader, ``self.data`` its split. ValueError or TypeError if the evaluator cannot train a
    supernet, or its data cannot be split.
    """

    def __init__(self, space: WidthSpace, evaluator: Lightning, options: RunOptions) -> None:
        check_evaluator(evaluator)
        self.space = space
        self.options = options
        self.loader = training_loader(evaluator)
        self.data = TrainingData(
            self.loader,
            holdout=options.holdout,
            seed=options.seed,
            score_loader=options.score_data,
            epoch=partial(batches_begun, evaluator.trainer),
        )
        self.evaluator = self._mutated(evaluator)
        self.module.set_model(space)

    def _mutated(self, evaluator: Lightning) -> Lightning:
        options = self.options
        module = MinMinModule(
            evaluator.module,
            sharing=options.sharing,
            channel_sets_per_step=options.channel_sets_per_step,
            seed=options.seed,
            loader_generator=self.data.generator,
            memory=options.memory,
            options=options.training,
        )
        return with_data(evaluator, module, self.data)

    @property
    def module(self) -> MinMinModule:
        """The Lightning module that trains the supernet."""
        module: MinMinModule = self.evaluator.module
        return module

    @property
    def trainer(self) -> pl.Trainer:
        """The user's trainer."""
        trainer: pl.Trainer = self.evaluator.trainer
        return trainer

    def model_space(self) -> RawFormatModelSpace:
        """Return the supernet and its evaluator in the form that NNI's engines execute."""
        model_space = RawFormatModelSpace(self.space, self.evaluator)
        model_space.status = ModelStatus.Frozen
        return model_space

    def train(
        self, folder: RunFolder, fit: Callable[[], Any] | None = None, callbacks: Sequence[pl.Callback] = ()
    ) -> None:
        """Train the supernet, or resume from its checkpoint; ``fit`` runs the evaluator, by default in this process."""
        trainer = self.trainer
        if not self.restore(folder):
            if folder.checkpoint.exists():
                self.evaluator.fit_kwargs['ckpt_path'] = str(folder.checkpoint)
            self._check_temperature()
            watch = WatchUniform(folder.uniform_loss, self._look)
            trainer.callbacks.extend(  # type: ignore[attr-defined]
                [*callbacks, watch, KeepCurves(folder.curves), *self._average(), SaveEveryEpoch(folder.checkpoint)]
            )
            with keyboard_interrupts(trainer):
                (fit or partial(self.evaluator.evaluate, self.space))()
        if trainer.is_global_zero and not folder.trained:
            folder.mark_trained(epochs=trainer.current_epoch)
            warning = overtraining(folder.uniform_loss)
            if warning is not None:
                _logger.warning('%s', warning)

    def _check_temperature(self) -> None:
        """Raise before training if the temperature does not apply to the loss."""
        if self.options.temperature not in (None, 1):
            with evaluating(self.module):
                self.scorer(statistics_batches=0, heldout_batches=1).temperature  # noqa: B018

    def _look(self) -> Scorer:
        """Return a scorer for use during training: by loss, on a few batches."""
        batches = min(5, self.options.statistics_batches)
        scorer = self.scorer(channel_sets_per_step=1, statistics_batches=batches, heldout_batches=10)
        scorer.metric, scorer.higher_is_better, scorer.asked_temperature = 'loss', False, 1
        return scorer

    def _average(self) -> list[WeightAverage]:
        decay = self.options.training.ema
        return [] if decay is None else [WeightAverage(decay)]

    def restore(self, folder: RunFolder) -> bool:
        """Restore the state at the end of training; return False if training is incomplete."""
        checkpoint = folder.load_checkpoint()
        if checkpoint is None:
            return False
        if not folder.trained and not has_ended(checkpoint, self.trainer):
            _logger.info('Training resumes after epoch %d.', checkpoint['epoch'] + 1)
            return False
        restore(checkpoint, self.trainer, self.module)
        for average in self._average():
            put_average(self.module, checkpoint['callbacks'][average.state_key])
        return True

    def scorer(
        self,
        *,
        channel_sets_per_step: int | None = None,
        statistics_batches: int | None = None,
        heldout_batches: int | None = None,
    ) -> Scorer:
        """Return a scorer with its batches on the training device, by default with the options of the run."""
        trainer, module, options = self.trainer, self.module, self.options
        batches = options.statistics_batches if statistics_batches is None else statistics_batches
        device = trainer.strategy.root_device
        module.trainer = trainer
        module.training_module.trainer = trainer
        if self.evaluator.datamodule is not None:
            self.evaluator.datamodule.trainer = trainer
        module.to(device)
        restart_workers(self.data.heldout)
        with seeded(options.seed):
            some = itertools.islice(self.data.heldout, heldout_batches)
            heldout = [to_device(self.evaluator, batch, device) for batch in some]
            statistics = [to_device(self.evaluator, batch, device) for batch in self.data.batches(batches)]
        return Scorer(
            module,
            sharing=options.sharing,
            heldout=heldout,
            statistics=statistics,
            score=options.score,
            higher_is_better=options.higher_is_better,
            temperature=options.temperature,
            channel_sets_per_step=options.channel_sets_per_score
            if channel_sets_per_step is None
            else channel_sets_per_step,
            seed=options.seed,
            context=trainer.precision_plugin.forward_context,
        )
