"""Request to a data source and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .pixels import Pixels

__all__ = ['Data', 'DataRequest']


@dataclass(frozen=True)
class DataRequest:
    """Request to a data source, such as ``'imagefolder:photos'``.

    With ``exact``, `pixels` was requested explicitly, so that data of another size is an error. With 0 ``workers``,
    this process loads. ``validation`` is the share of every class held out if the source has no validation part.
    """

    source: str
    pixels: Pixels | None = None
    exact: bool = False
    batch_size: int = 64
    workers: int = 0
    seed: int = 0
    validation: float = 0.2

    def loader(self, dataset: Any, train: bool) -> Any:
        """Return a loader of a data set; in training it shuffles."""
        import torch
        from torch.utils.data import DataLoader

        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            shuffle=train,
            generator=torch.Generator().manual_seed(self.seed) if train else None,
            # A last batch of one sample has no variance for batch normalization.
            drop_last=train and len(dataset) >= 2 * self.batch_size,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


@dataclass(frozen=True)
class Data:
    """Data of a source: loaders of batches ``(inputs, targets)``; None: there is no validation part.

    ``shape`` is that of one input, without the batch; None if inputs are not tensors. ``classes`` are names; None if
    unknown. ``labels`` are class indices of the first batch, if integer.
    """

    train: Any
    validate: Any
    shape: tuple[int, ...] | None
    classes: tuple[str, ...] | None
    description: str
    labels: tuple[int, ...] = field(default=(), repr=False)
