"""Detection of over-training by the held-out loss of the uniform network."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytorch_lightning as pl

from ..search import Scorer
from ..slicing import using_mode
from ..space import WidthSpace
from ..utils import append_record
from .training_curves import read_curves

__all__ = ['WatchUniform', 'evaluating', 'overtraining']

_LOOKS = 12
_SHORTEST = 6
"""Minimum number of epochs to watch; a third of fewer shows no trend."""

_RISEN = 1.02
"""Ratio of last to lowest loss that counts as a rise."""

_NAME = 'held-out loss of the uniform network'


@contextlib.contextmanager
def evaluating(module: pl.LightningModule) -> Iterator[None]:
    """Put a supernet's module and the model inside its space into evaluation mode for a block."""
    spaces = [each for each in module.modules() if isinstance(each, WidthSpace)]
    modes = [space.full_model.training for space in spaces]
    try:
        with using_mode(module, training=False):
            yield
    finally:
        for space, mode in zip(spaces, modes):
            space.full_model.training = mode


class WatchUniform(pl.Callback):
    """Log the held-out loss of the uniform half-width network at about 12 epochs of training.

    ``scorer`` creates a scorer by loss at temperature 1, which is discarded after each use.
    """

    def __init__(self, path: Path, scorer: Callable[[], Scorer]) -> None:
        self._path = path
        self._scorer = scorer

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score the network if it is due."""
        epochs, epoch = trainer.max_epochs or -1, trainer.current_epoch + 1
        if trainer.fit_loop.restarting or not trainer.is_global_zero or 0 < epochs < _SHORTEST:
            return
        every = max(1, math.ceil(epochs / _LOOKS))
        if epoch % every and epoch != epochs:
            return
        with evaluating(pl_module):
            scorer = self._scorer()
            loss = scorer.score(scorer.space.uniform_widths(0.5)).score
        if math.isfinite(loss):
            append_record(self._path, {'epoch': epoch, 'metrics': {_NAME: loss}})


def overtraining(path: Path) -> str | None:
    """Return a warning if the loss logged by `WatchUniform` rose during the last third of the epochs."""
    points = read_curves(path).get(_NAME, [])
    if len(points) < 3:
        return None
    (best, lowest), (epoch, last) = min(points, key=lambda point: (point[1], -point[0])), points[-1]
    if 3 * (epoch - best) < epoch or last < _RISEN * lowest:
        return None
    return (
        f'Warning: the {_NAME} at half width was lowest ({lowest:.4g}) after epoch {best} of {epoch} and ended at '
        f'{last:.4g}: the supernet is over-trained. Train it for fewer epochs or with more regularization.'
    )
