"""Each process trains on its share of every batch, so that a batch is the same on any number of devices."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, Sampler, SequentialSampler

from .agreement import from_first, rank_and_ranks

__all__ = ['derive_random_state', 'rank_loader']

_LEAST = 2
"""Samples in a share, if possible: batch normalization cannot train on one."""


def rank_loader(loader: Any, rank: int, ranks: int, *, together: bool = True, name: str = 'the loader') -> Any:
    """Return a loader of a rank's share of each batch.

    The first process draws the order of the samples, unless this one reads its share alone (not ``together``). All shares
    of a batch together are the batch; they differ by one sample at most if its size is not a multiple of ``ranks``. The
    last batch may be too small to be shared out; a rank then takes samples of its share of the batch before it. Raises
    ValueError for loaders whose batches cannot be divided.
    """
    batches = getattr(loader, 'batch_sampler', None)
    if (
        not isinstance(loader, DataLoader)
        or isinstance(loader.dataset, IterableDataset)
        or batches is None
        or type(loader).__iter__ is not DataLoader.__iter__
    ):
        raise ValueError(
            f'{name}: batches of {type(loader).__name__} cannot be divided among {ranks} devices. Give a DataLoader of a '
            'data set with a length, or an evaluator of your own with strategy="ddp", whose data are yours to divide.'
        )
    if type(batches) is BatchSampler and batches.batch_size < ranks:
        raise ValueError(
            f'{name}: a batch of {batches.batch_size} cannot be divided among {ranks} devices. Give larger batches '
            '(--batch-size), or fewer devices.'
        )
    workers = loader.num_workers
    return DataLoader(
        loader.dataset,
        batch_sampler=_Shares(batches, rank, ranks, together),
        num_workers=workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=partial(_start_worker, rank, loader.worker_init_fn),
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor if workers else None,
        persistent_workers=loader.persistent_workers,
    )


class _Shares(Sampler[list[int]]):
    """A rank's share of each batch."""

    def __init__(self, batches: Any, rank: int, ranks: int, together: bool) -> None:
        self.batches = batches
        self.rank = rank
        self.ranks = ranks
        self.together = together

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        order = self._order()
        shares = [batch[self.rank :: self.ranks] for batch in order]
        if order and len(shares[-1]) < _LEAST:
            if len(shares) > 1:
                missing = _LEAST - len(shares[-1])
                taken = max(min(missing, len(shares[-2]) - _LEAST), 0 if shares[-1] else 1)
                shares[-1] = shares[-2][len(shares[-2]) - taken :] + shares[-1]
                shares[-2] = shares[-2][: len(shares[-2]) - taken]
            elif not shares[-1]:
                shares[-1] = [order[-1][self.rank % len(order[-1])]]
        yield from shares

    def _order(self) -> list[list[int]]:
        def draw() -> list[list[int]]:
            return [list(batch) for batch in self.batches]

        if not self.together or type(getattr(self.batches, 'sampler', None)) is SequentialSampler:
            return draw()
        order = from_first(draw)
        derive_random_state()
        return order


def derive_random_state() -> None:
    """Give every process but the first random numbers of its own, which follow from the state of the first one.

    Otherwise all would draw the same augmentation and the same dropout. The first one keeps its state, which is that of
    a process without others, and which checkpoints hold.
    """
    rank, ranks = rank_and_ranks()
    if ranks == 1:
        return
    digest = from_first(lambda: hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest())
    if rank > 0:
        _seed(int(digest[:15], 16) + rank)


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _start_worker(rank: int, start: Callable[[int], Any] | None, worker: int) -> None:
    """Seed a worker process that loads data; ``start`` is the user's function."""
    if rank > 0:
        _seed((torch.initial_seed() + rank * 1_000_003) % 2**62)
    if start is not None:
        start(worker)
