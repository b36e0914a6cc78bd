"""Whether a supernet trains for too long: the held-out loss of its uniform network, a few times in its training."""

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
"""Epochs below which a training is not watched: a third of them is no trend."""

_RISEN = 1.02
"""The last loss over the lowest one, from which a rise is told."""

_NAME = 'held-out loss of the uniform network'


@contextlib.contextmanager
def evaluating(module: pl.LightningModule) -> Iterator[None]:
    """Put a supernet's module into evaluation mode, and back into its own afterwards; the model inside the space, too."""
    spaces = [each for each in module.modules() if isinstance(each, WidthSpace)]
    modes = [space.full_model.training for space in spaces]
    try:
        with using_mode(module, training=False):
            yield
    finally:
        for space, mode in zip(spaces, modes):
            space.full_model.training = mode


class WatchUniform(pl.Callback):
    """Keep the held-out loss of the uniform half-width network, at about 12 epochs of a training.

    Parameters
    ----------
    path
        The file; it is that of curves (see `KeepCurves`).
    scorer
        Makes what scores the network, by its loss at temperature 1 on some held-out batches. Nothing of it is kept between
        two looks.
    """

    def __init__(self, path: Path, scorer: Callable[[], Scorer]) -> None:
        self._path = path
        self._scorer = scorer

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the network if it is time."""
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
    """Return a warning if the loss that `WatchUniform` has kept rose for a third of the epochs or longer."""
    points = read_curves(path).get(_NAME, [])
    if len(points) < 3:
        return None
    (best, lowest), (epoch, last) = min(points, key=lambda point: (point[1], -point[0])), points[-1]
    if 3 * (epoch - best) < epoch or last < _RISEN * lowest:
        return None
    return (
        f'Warning: the {_NAME} at half width was lowest ({lowest:.4g}) after epoch {best} of {epoch}, and is {last:.4g} at '
        'the end: the supernet is over-trained. Train it for fewer epochs or with more regularization.'
    )
