"""A Lightning training of some batches of ones, for tests of callbacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset


class Sum(pl.LightningModule):
    """The sum of a linear layer's output as the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.layer(batch[0]).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(module: pl.LightningModule, callbacks: Sequence[pl.Callback], batches: int = 8, **options: Any) -> None:
    """Train a module on batches of one sample each."""
    trainer = pl.Trainer(
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(module, DataLoader(TensorDataset(torch.ones(batches, 1)), batch_size=1))
