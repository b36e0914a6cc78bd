"""Loss on held-out training data, the ranking metric of short trainings."""

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
    """Add ``heldout_loss`` to the metrics at the end of training.

    Like a supernet's score, it is the loss of the user's ``training_step`` in evaluation mode. Logging, RNG state and
    side effects of the steps are undone.
    """

    def __init__(self, batches: Iterable[Any], seed: int) -> None:
        self._batches = batches
        self._seed = seed

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the loss, after callbacks such as weight averaging."""
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
        value = trainer.strategy.broadcast(math.nan if value is None else value)  # all ranks must select alike
        trainer.callback_metrics[HELDOUT_LOSS] = torch.tensor(value)
