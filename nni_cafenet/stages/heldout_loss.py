"""The loss of a trained network on held-out training data: what short trainings are ranked by."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch

from ..search import Mean, batch_size, loss_step
from ..supernet import SideEffects, loss_of
from ..utils import seeded

__all__ = ['HELDOUT_LOSS', 'HeldoutLoss']

HELDOUT_LOSS = 'heldout_loss'
"""The name of the metric."""


class HeldoutLoss(pl.Callback):
    """Add ``heldout_loss`` to the metrics of a training at its end.

    It is the loss of the user's ``training_step`` in evaluation mode, as a supernet's score is. What the steps log, draw
    and change is taken back.

    Parameters
    ----------
    batches
        The held-out training data.
    seed
        Seed of whatever the steps draw.
    """

    def __init__(self, batches: Iterable[Any], seed: int) -> None:
        self._batches = batches
        self._seed = seed

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the loss; other callbacks have changed the weights by now, such as to their average."""
        training, effects, own = pl_module.training, SideEffects(pl_module), vars(pl_module)
        own['log'] = own['log_dict'] = lambda *args, **kwargs: None
        losses, step = Mean(), loss_step(pl_module)  # type: ignore[arg-type]
        try:
            pl_module.eval()
            with seeded(self._seed), torch.no_grad():
                for index, batch in enumerate(self._batches):
                    batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
                    with trainer.precision_plugin.forward_context():
                        output = step(batch, index)
                    if output is not None:
                        losses.add(loss_of(output), batch_size(batch))
        finally:
            del own['log'], own['log_dict']
            pl_module.train(training)
            effects.restore()
        value = losses.value()
        value = trainer.strategy.broadcast(math.nan if value is None else value)  # all processes choose alike
        trainer.callback_metrics[HELDOUT_LOSS] = torch.tensor(value)
