"""RNG states of torch, numpy and Python, saved and restored."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader

from .torch_internals import put_persistent_iterator

if TYPE_CHECKING:
    import pytorch_lightning as pl

__all__ = [
    'RandomnessOnResume',
    'load_random_state',
    'loader_generators',
    'random_state',
    'restart_workers',
    'seeded',
]


def random_state() -> dict[str, Any]:
    """Return the RNG states of torch (CPU and current GPU), numpy and Python as tensors and plain values."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, cached = random.getstate()
    state: dict[str, Any] = {
        'torch': torch.get_rng_state(),
        'numpy': [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss],
        'python': [version, list(internal), cached],
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def loader_generators(loader: Any) -> list[torch.Generator]:
    """Return the generators of a loader and its sampler."""
    found = [getattr(each, 'generator', None) for each in (loader, getattr(loader, 'sampler', None))]
    return list({id(each): each for each in found if isinstance(each, torch.Generator)}.values())


def load_random_state(state: dict[str, Any]) -> None:
    """Restore the states that `random_state` returned."""
    torch.set_rng_state(state['torch'].cpu())
    name, keys, position, has_gauss, gauss = state['numpy']
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, cached = state['python']
    random.setstate((version, tuple(internal), cached))
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


def restart_workers(*loaders: Any) -> None:
    """Let loaders start new worker processes: persistent ones keep random numbers that no checkpoint has."""
    for loader in pytree.tree_leaves([getattr(each, 'iterables', each) for each in loaders]):
        if isinstance(loader, DataLoader):
            put_persistent_iterator(loader, None)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed all generators inside a block, and restore them on exit."""
    before = random_state()
    try:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        yield
    finally:
        load_random_state(before)


class RandomnessOnResume:
    """Restores RNG states so that a resumed training draws the numbers of an uninterrupted one.

    In an uninterrupted run, Lightning creates the loader's iterator, which draws from the global generator, inside the
    epoch. On resume it creates one between ``on_fit_start`` and ``on_train_start``; Lightning 2.5.5 and later use that
    one. So the state is restored in ``on_fit_start``, saved again in ``on_train_start`` if the early iterator is used
    (hooks may draw in between), and restored in ``on_train_epoch_start``. A training limited by steps first replays the
    hooks of the finished epoch; the state then applies to the next one.
    """

    def __init__(self, generators: Sequence[torch.Generator] = ()) -> None:
        self._generators = tuple(generators)
        self._pending: dict[str, Any] | None = None

    def state(self) -> dict[str, Any]:
        """Return the states of all generators as tensors and plain values."""
        return {'random': random_state(), 'generators': [each.get_state() for each in self._generators]}

    def resume_from(self, state: dict[str, Any]) -> None:
        """Schedule a state returned by `state` for restoration; restore further generators now."""
        self._pending = state
        self._load_generators()

    def on_fit_start(self, trainer: pl.Trainer) -> None:
        """Restore the scheduled state.

        ``trainer.estimated_stepping_batches``, read by many schedules, creates a loader iterator before this hook, from
        other random numbers. It is dropped, and Lightning creates a new one after this hook.
        """
        if self._pending is not None:
            restart_workers(trainer.train_dataloader, trainer.val_dataloaders)
            trainer.fit_loop._combined_loader = None
        self._load()

    def on_train_start(self, trainer: pl.Trainer) -> None:
        """Save the state again if the epoch's iterator has already drawn."""
        resuming = getattr(trainer.fit_loop, 'is_resuming', False)
        if self._pending is not None and resuming and not trainer.fit_loop.epoch_loop.restarting:
            self._pending = self.state()

    def on_train_epoch_start(self, trainer: pl.Trainer) -> None:
        """Restore the scheduled state for the last time."""
        self._load()
        if not trainer.fit_loop.epoch_loop.restarting:
            self._pending = None

    def _load(self) -> None:
        if self._pending is not None:
            load_random_state(self._pending['random'])
            self._load_generators()

    def _load_generators(self) -> None:
        if self._pending is not None:
            for generator, saved in zip(self._generators, self._pending['generators']):
                generator.set_state(saved.cpu())
