"""Defaults that follow data and training, counted in forwards: statistics batches, widths of a search, finalists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl

from ..options import FORWARDS_PER_BACKWARD
from ..supernet import each_batch
from .train_supernet import SupernetStage

__all__ = ['MOST_FINALISTS', 'Workload', 'training_batches']

MOST_FINALISTS = 4

_FEWEST_FINALISTS = 2  # one alone leaves nothing to choose among
_FEWEST_WIDTHS = 80
_FEWEST_BATCHES = 4
_WIDTHS_PER_PROPOSAL = (6, 5)
"""Widths scored for each that the searcher proposes: random ones of equal cost and fuller versions add up to a fifth."""


@dataclass(frozen=True)
class Workload:
    """The data and the training of a supernet, in batches: the same on every machine and on any number of devices.

    ``epoch`` is the number of training batches in an epoch, ``heldout`` that of held-out batches, ``channel_sets`` those
    that a score tries. ``training`` is the cost of the whole training in forwards of a batch: a step costs one for each
    of its channel sets, and a backward pass. None stands for what is not known before: a loader without a length, a
    training without an end. Without a training, or if its cost is not known, only an epoch bounds the defaults.
    """

    training: int | None
    epoch: int | None
    heldout: int | None
    channel_sets: int

    @classmethod
    def of(cls, stage: SupernetStage) -> Workload:
        """Return the workload of a supernet."""
        options = stage.options
        batches = training_batches(stage.trainer, stage.data.train)
        widths = len(options.training.sampling.draw(stage.space, np.random.default_rng(0)))
        step = widths * (options.channel_sets_per_step + FORWARDS_PER_BACKWARD)
        return cls(
            None if batches is None else batches * step,
            _batches_in(stage.data.train, stage.trainer.limit_train_batches),
            _length(stage.data.heldout),
            options.channel_sets_per_score,
        )

    def statistics_batches(self, most: int, widths: int) -> int:
        """Return the number of statistics batches: ``most`` if they and ``widths`` cost no more than the training.

        Otherwise batches and widths become fewer by the same factor. There are never more than an epoch has.
        """
        most = most if self.epoch is None else max(1, min(most, self.epoch))
        found = most
        while found > _FEWEST_BATCHES and (affordable := self.widths(found)) is not None:
            if affordable * most >= widths * found:
                break
            found -= 1
        return found

    def widths(self, statistics_batches: int, budgets: int = 1) -> int | None:
        """Return how many widths a search may propose for each budget; None if nothing bounds them."""
        if not self.training or self.heldout is None:
            return None
        scored, proposed = _WIDTHS_PER_PROPOSAL
        score = self.channel_sets * max(1, statistics_batches + self.heldout)
        return max(_FEWEST_WIDTHS, self.training * proposed // (scored * score * budgets))

    def search(self, widths: int, statistics_batches: int) -> int | None:
        """Return the cost of scoring widths in forwards; None if unknown."""
        return None if self.heldout is None else widths * self.channel_sets * (statistics_batches + self.heldout)

    def finalists(self, batches: int | None, budgets: int = 1) -> int:
        """Return the number of networks of each budget to train, for ``batches`` of a training.

        The best two are always trained; those after the first cost no more than the supernet otherwise.
        """
        if not self.training or not batches:
            return MOST_FINALISTS
        affordable = 1 + self.training // ((1 + FORWARDS_PER_BACKWARD) * batches * budgets)
        return max(_FEWEST_FINALISTS, min(MOST_FINALISTS, affordable))


def training_batches(trainer: pl.Trainer, loader: Any) -> int | None:
    """Return the number of batches of a training; None if it is not known before."""
    each = _batches_in(loader, trainer.limit_train_batches)
    epochs, steps = trainer.max_epochs, trainer.max_steps
    limits = []
    if each is not None and epochs is not None and epochs >= 0:
        limits.append(each * epochs)
    if steps >= 0:
        limits.append(steps * trainer.accumulate_grad_batches)
    return min(limits, default=None)


def _batches_in(loader: Any, limit: float | None) -> int | None:
    """Return the training batches of an epoch, which Lightning may limit by a number or a share."""
    number = _length(loader)
    if number is None or limit is None:
        return number
    return min(number, limit) if isinstance(limit, int) else int(number * limit)


def _length(loader: Any) -> int | None:
    try:
        return len(each_batch(loader))
    except TypeError:  # several loaders, or one without a length
        return None
