"""What a source is asked for, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .pixels import Pixels

__all__ = ['Data', 'DataRequest']


@dataclass(frozen=True)
class DataRequest:
    """
    What a source is asked for.

    Parameters
    ----------
    source
        The words that name it, such as ``'imagefolder:photos'``.
    pixels
        What the network takes, if that is known already.
    exact
        Whether the size of `pixels` was asked for, so that data of another size are refused.
    batch_size
        Samples a batch.
    workers
        Processes that read the data; 0: this one.
    seed
        Seed of what is cut off for validation, and of shuffling.
    validation
        Share of every class that is kept for validation where the source has no such part.
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
            # The rest of an epoch may be a single picture, of which batch normalization knows no spread.
            drop_last=train and len(dataset) >= 2 * self.batch_size,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


@dataclass(frozen=True)
class Data:
    """
    What a source gives.

    Parameters
    ----------
    train
        The training loader, of batches ``(inputs, targets)``.
    validate
        The validation loader; None: there is none.
    shape
        Shape of one input, without the batch; None where inputs are no tensors.
    classes
        Names of the classes; None where the source does not say.
    description
        One line for the user.
    labels
        Classes that stand in the first batch, where they are whole numbers.
    """

    train: Any
    validate: Any
    shape: tuple[int, ...] | None
    classes: tuple[str, ...] | None
    description: str
    labels: tuple[int, ...] = field(default=(), repr=False)
