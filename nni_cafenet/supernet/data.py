"""Training data and its held-out part: scores never see validation data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, Sampler, SequentialSampler, Subset

__all__ = ['EpochSampler', 'TrainingData']


class EpochSampler(Sampler[int]):
    """Shuffle by seed and epoch alone, so that a resumed run sees the samples of the run that it continues.

    Parameters
    ----------
    size
        Number of samples.
    seed
        Seed.
    epoch
        Called at the start of every pass; returns a number that grows from epoch to epoch.
    """

    def __init__(self, size: int, seed: int, epoch: Callable[[], int]) -> None:
        self.size = size
        self.seed = seed
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        yield from np.random.default_rng([self.seed, 1 + self.epoch()]).permutation(self.size).tolist()


class TrainingData:
    """The training data of a run, cut in two: batches for training, and held-out batches for scores.

    Parameters
    ----------
    loader
        The user's training loader.
    holdout
        Share of the training samples that is held out, chosen by the seed.
    seed
        Seed of the cut and of the shuffling.
    score_loader
        A loader for scores instead of a held-out part. It must not hold validation data.
    epoch
        Returns a number that grows from epoch to epoch.

    Attributes
    ----------
    train, heldout
        The two loaders.
    generator
        The generator that the training loader seeds its workers with; None for loaders that are used as they are.

    Raises
    ------
    ValueError
        If the loader cannot be cut (an iterable data set, a sampler of the user's own) and ``score_loader`` is not
        given, or one of the parts would be empty.
    """

    def __init__(
        self,
        loader: Any,
        *,
        holdout: float,
        seed: int,
        score_loader: Any = None,
        epoch: Callable[[], int] = lambda: 0,
    ) -> None:
        self.seed = seed
        self.generator: torch.Generator | None = None
        self._rebuildable = _is_plain(loader)
        if score_loader is None and not self._rebuildable:
            raise ValueError(
                f'A part of the training data must be held out for scores, but {type(loader).__name__} cannot be cut '
                '(an iterable data set, or a sampler of its own). Give score_data=, a loader of held-out training data.'
            )
        if not self._rebuildable:
            self.train, self.heldout, self._dataset = loader, score_loader, None
            return
        self.generator = torch.Generator().manual_seed(seed)
        order = np.random.default_rng([seed, 0]).permutation(len(loader.dataset))
        held = 0 if score_loader is not None else round(holdout * len(order))
        if len(order) - held < 1 or (score_loader is None and held < 1):
            raise ValueError(
                f'holdout={holdout} of {len(order)} training samples leaves {len(order) - held} for training and {held} '
                'for scores. Give another share, or more data.'
            )
        self._dataset = Subset(loader.dataset, np.sort(order[held:]).tolist())
        self._loader = loader
        shuffled = isinstance(loader.sampler, RandomSampler)
        sampler = EpochSampler(len(self._dataset), seed, epoch) if shuffled else SequentialSampler(self._dataset)
        self.train = _like(loader, self._dataset, sampler, self.generator)
        heldout = Subset(loader.dataset, np.sort(order[:held]).tolist())
        self.heldout = _like(loader, heldout, None) if score_loader is None else score_loader

    def __len__(self) -> int:
        return 0 if self._dataset is None else len(self._dataset)

    def train_dataloader(self) -> Any:
        """Return the training loader, as Lightning's data modules do."""
        return self.train

    def val_dataloader(self) -> Any:
        """Return the held-out loader, which takes the place of validation data while the supernet trains."""
        return self.heldout

    def batches(self, number: int) -> list[Any]:
        """Return some training batches, the same in every run of the same seed."""
        if number == 0:
            return []
        loader = self.train
        if self._dataset is not None:
            sampler = EpochSampler(len(self._dataset), self.seed, lambda: 2**40)
            loader = _like(self._loader, self._dataset, sampler, torch.Generator().manual_seed(self.seed))
        batches: list[Any] = []
        while len(batches) < number:
            before = len(batches)
            for batch in loader:
                batches.append(batch)
                if len(batches) == number:
                    break
            if len(batches) == before:
                raise ValueError('The training loader gives no batch: is drop_last set with too few samples?')
        return batches


def _is_plain(loader: Any) -> bool:
    return (
        isinstance(loader, DataLoader)
        and not isinstance(loader.dataset, IterableDataset)
        and loader.batch_size is not None
        and type(loader.sampler) in (RandomSampler, SequentialSampler)
    )


def _like(loader: DataLoader[Any], dataset: Any, sampler: Any, generator: torch.Generator | None = None) -> Any:
    """Return a loader with the settings of another one."""
    workers = loader.num_workers
    return DataLoader(
        dataset,
        batch_size=loader.batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        drop_last=loader.drop_last and sampler is not None,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=generator,
        prefetch_factor=loader.prefetch_factor if workers else None,
        persistent_workers=loader.persistent_workers,
    )
