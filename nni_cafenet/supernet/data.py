"""Training data and its held-out part; scores never see validation data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from pytorch_lightning.utilities import CombinedLoader
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, Subset

from .samplers import EpochSampler, SamplingScheme

__all__ = ['EpochSampler', 'TrainingData', 'each_batch']


class TrainingData:
    """The training data of a run, split in two: batches for training, and held-out batches for scores.

    The seed chooses the samples to hold out, and shuffles. ``score_loader`` replaces the held-out part; it must not
    contain validation data. A data set that varies its samples at random may have them as they are in ``plain``: then those
    are held out. ``epoch`` returns a number that grows from epoch to epoch. ``generator`` seeds the workers
    of the training loader; None for loaders used unchanged.

    Raises ValueError if the loader cannot be split (an iterable data set, a custom sampler) and there is no
    ``score_loader``, or one of the parts would be empty.
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
        scheme = _scheme_of(loader)
        if scheme is None:
            if score_loader is None:
                raise ValueError(
                    f'A part of the training data must be held out for scores, but {_cannot_be_cut(loader)}. Give '
                    'score_data=, a loader of held-out training data that gives what a training step takes.'
                )
            self.train, self.heldout, self._dataset = loader, score_loader, None
            _check_length(loader, 'The training loader')
            return
        self.generator = torch.Generator().manual_seed(seed)
        order = np.random.default_rng([seed, 0]).permutation(len(scheme.samples))
        held = 0 if score_loader is not None else _held_out(holdout, len(order), scheme, loader)
        if len(order) - held < 1 or (score_loader is None and held < 1):
            raise ValueError(
                f'holdout={holdout} of {len(order)} training samples leaves {len(order) - held} for training and {held} '
                'for scores. Give another share, or more data.'
            )
        self._loader = loader
        self._chosen, self._scheme = np.sort(order[held:]), scheme
        self._dataset = Subset(loader.dataset, scheme.samples[self._chosen].tolist())
        self.train = _like(loader, self._dataset, scheme.sampler(self._chosen, seed, epoch), self.generator)
        if len(self.train) == 0:
            raise ValueError(
                f'drop_last=True leaves no batch: the training loader has batches of {loader.batch_size} samples, and '
                f'{len(self.train.sampler)} are drawn from the {len(self._dataset)} for training (holdout={holdout} of '
                f'{len(order)}). Give smaller batches, drop_last=False, or more data.'
            )
        plain = getattr(loader.dataset, 'plain', loader.dataset)
        heldout = Subset(plain, scheme.samples[np.sort(order[:held])].tolist())
        self.heldout = _like(loader, heldout, None) if score_loader is None else score_loader

    def __len__(self) -> int:
        return 0 if self._dataset is None else len(self._dataset)

    def train_dataloader(self) -> Any:
        """Return the training loader; for Lightning."""
        return self.train

    def val_dataloader(self) -> Any:
        """Return the held-out loader: the validation data of the supernet's training."""
        return self.heldout

    def batches(self, number: int) -> list[Any]:
        """Return a number of training batches, the same in every run with the same seed."""
        if number == 0:
            return []
        loader = each_batch(self.train)
        if self._dataset is not None:
            sampler = self._scheme.sampler(self._chosen, self.seed, lambda: 2**40)
            if not self._scheme.shuffled:
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


def each_batch(loader: Any) -> Any:
    """Return an iterable of the batches that Lightning takes: from several loaders, a batch of each at a time."""
    if isinstance(loader, CombinedLoader):
        return _Combined(loader.iterables, loader._mode)
    parts = loader.values() if isinstance(loader, Mapping) else loader if isinstance(loader, (list, tuple)) else ()
    if isinstance(loader, Mapping) or (
        parts and all(isinstance(part, (DataLoader, Mapping, list, tuple)) for part in parts)
    ):
        return _Combined(loader, 'max_size_cycle')
    return loader


class _Combined:
    """Several loaders as one that can be iterated repeatedly."""

    def __init__(self, loaders: Any, mode: Any) -> None:
        self._loaders = loaders
        self._mode = mode

    def __iter__(self) -> Iterator[Any]:
        for found in CombinedLoader(self._loaders, self._mode):
            yield found[0]


def _held_out(holdout: float, size: int, scheme: SamplingScheme, loader: DataLoader[Any]) -> int:
    """Return the number of samples to hold out.

    If the split would leave a last batch of one sample, on which batch normalization cannot train, and the user's loader
    has no such batch, that sample is held out too.
    """
    held, batch = round(holdout * size), int(loader.batch_size or 1)
    alone = (size - held) % batch == 1 and size % batch != 1
    if alone and batch > 1 and not loader.drop_last and scheme.draws is None:
        return held + 1 if size - held > 1 else held - 1
    return held


def _scheme_of(loader: Any) -> SamplingScheme | None:
    """Return how a loader draws its samples; None if it cannot be rebuilt for a part of them."""
    if (
        not isinstance(loader, DataLoader)
        or isinstance(loader.dataset, IterableDataset)
        or loader.batch_size is None
        or type(loader).__iter__ is not DataLoader.__iter__
        or type(loader.batch_sampler) is not BatchSampler
        or not hasattr(loader.dataset, '__len__')
    ):
        return None
    return SamplingScheme.of(loader.sampler, len(loader.dataset))


def _cannot_be_cut(loader: Any) -> str:
    """Return why a loader cannot be split."""
    what = type(loader).__name__
    if not isinstance(loader, DataLoader):
        several = isinstance(loader, (Mapping, list, tuple, CombinedLoader))
        return f'{"several training loaders" if several else what} cannot be cut'
    if isinstance(loader.dataset, IterableDataset):
        return f'an IterableDataset ({type(loader.dataset).__name__}) cannot be cut'
    if loader.batch_size is None:
        own = loader.batch_sampler is not None
        return f'a loader with {"a batch sampler" if own else "batch_size=None"} cannot be cut'
    if not hasattr(loader.dataset, '__len__'):
        return f'a data set without a length ({type(loader.dataset).__name__}) cannot be cut'
    if type(loader).__iter__ is not DataLoader.__iter__:
        return f'{what} gives batches in its own way and cannot be cut'
    return f'the samples that {type(loader.sampler).__name__} draws cannot be cut'


def _check_length(loader: Any, what: str) -> None:
    """Raise ValueError for an empty loader."""
    try:
        length = len(loader)
    except TypeError:  # no length, as with an IterableDataset
        return
    if length == 0:
        raise ValueError(f'{what} gives no batch. Is it empty, or drop_last set with too few samples?')


def _like(loader: DataLoader[Any], dataset: Any, sampler: Any, generator: torch.Generator | None = None) -> Any:
    """Return a loader with the settings of another."""
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
