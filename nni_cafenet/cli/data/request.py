"""Request to a data source and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...options import TrainingRecipe
from .pixels import Pixels

__all__ = ['Data', 'DataRequest']

_FEWEST = 64
"""Samples of a part of a data set: less would not make a batch."""


@dataclass(frozen=True)
class DataRequest:
    """Request to a data source, such as ``'imagefolder:photos'``.

    With ``exact``, `pixels` was requested explicitly, so that data of another size is an error; with ``trained``, weights
    were trained on them; else the data may have another size. With 0 ``workers``, this process loads. ``validation`` is the
    share of every class held out if the source has no validation part. ``fraction`` is the share of the samples that is
    used. The ``recipe`` says how training pictures are varied.
    """

    source: str
    pixels: Pixels | None = None
    exact: bool = False
    batch_size: int = 64
    workers: int = 0
    seed: int = 0
    validation: float = 0.2
    trained: bool = False
    fraction: float = 1.0
    recipe: TrainingRecipe = field(default_factory=TrainingRecipe)

    def loader(self, dataset: Any, train: bool, collate: Callable[[Any], Any] | None = None) -> Any:
        """Return a loader of a data set, or of a part of it; in training it shuffles.

        A data set of varied pictures has them as they are in ``plain``: scores are taken on those. ``collate`` makes a
        batch of samples, if they are not to be stacked.
        """
        import torch
        from torch.utils.data import DataLoader

        dataset = self._part(dataset)
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            shuffle=train,
            generator=torch.Generator().manual_seed(self.seed) if train else None,
            # A last batch of one sample has no variance for batch normalization.
            drop_last=train and len(dataset) >= 2 * self.batch_size,
            num_workers=self.workers,
            collate_fn=collate,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def _part(self, dataset: Any) -> Any:
        """Return the share of a data set that is used, drawn by the seed."""
        if self.fraction == 1:
            return dataset
        import numpy as np
        from torch.utils.data import Subset

        number = min(len(dataset), max(_FEWEST, round(self.fraction * len(dataset))))
        chosen = np.sort(np.random.default_rng([self.seed, 2]).permutation(len(dataset))[:number]).tolist()
        part: Any = Subset(dataset, chosen)
        if hasattr(dataset, 'plain'):
            part.plain = Subset(dataset.plain, chosen)
        return part


@dataclass(frozen=True)
class Data:
    """Data of a source: loaders of batches ``(inputs, targets)``; None: there is no validation part.

    ``shape`` is that of one input, without the batch; None if inputs are not tensors. ``classes`` are names; None if
    unknown. ``labels`` are class indices of the first batch, if integer. ``loss`` is the loss for the targets, if it is
    not cross-entropy, and ``metric`` the metric of validation, if it is not that of the loss.
    """

    train: Any
    validate: Any
    shape: tuple[int, ...] | None
    classes: tuple[str, ...] | None
    description: str
    labels: tuple[int, ...] = field(default=(), repr=False)
    loss: str | None = None
    metric: Any = None
