"""Lightning's DDP, with each batch of the loaders divided among the processes."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy, StrategyRegistry
from torch import Tensor

from .split_batches import derive_random_state, rank_loader

__all__ = ['STRATEGIES', 'splits_batches']

STRATEGIES = {'ddp': 'split_ddp', 'ddp_find_unused_parameters_true': 'split_ddp_find_unused_parameters_true'}
"""Names of strategies as users give them, and as Lightning knows those that divide batches."""


class SplitDDP(DDPStrategy):
    """DDP in which a batch of a loader is that of all processes together; Lightning's own has one for each process.

    So epochs have the same steps on any number of devices, and neither the learning rate nor its schedule depends on it.
    Use it with ``use_distributed_sampler=False``.
    """

    def process_dataloader(self, dataloader: object) -> object:
        """Return the loader of this process's share."""
        return rank_loader(dataloader, self.global_rank, self.world_size) if self.world_size > 1 else dataloader

    def reduce(self, tensor: Any, group: Any = None, reduce_op: Any = 'mean') -> Any:
        """Reduce a tensor; the mean of whole numbers, such as sizes of batches, is not rounded."""
        if isinstance(tensor, Tensor) and not tensor.is_floating_point():
            tensor = tensor.double()
        return super().reduce(tensor, group, reduce_op)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Give each process random numbers of its own, once an epoch."""
        if batch_idx == 0:
            derive_random_state()


def splits_batches(trainer: pl.Trainer) -> bool:
    """Whether the processes of a trainer share out the batches of its loaders."""
    return isinstance(trainer.strategy, SplitDDP)


for _given, _name in STRATEGIES.items():
    _unused = {'find_unused_parameters': True} if _given != 'ddp' else {}
    StrategyRegistry.register(_name, SplitDDP, description=SplitDDP.__doc__, override=True, **_unused)
