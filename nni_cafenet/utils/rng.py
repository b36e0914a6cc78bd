"""The state of every random generator that a training step may use, as plain data."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    import pytorch_lightning as pl

__all__ = ['RandomnessOnResume', 'load_random_state', 'loader_generators', 'random_state', 'seeded']


def random_state() -> dict[str, Any]:
    """Return the states of torch (CPU and current GPU), numpy and Python, as tensors and numbers only."""
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
    """Return the generators of its own that a loader draws from: that of the loader, and that of its sampler."""
    found = [getattr(each, 'generator', None) for each in (loader, getattr(loader, 'sampler', None))]
    return list({id(each): each for each in found if isinstance(each, torch.Generator)}.values())


def load_random_state(state: dict[str, Any]) -> None:
    """Bring back what `random_state` returned."""
    torch.set_rng_state(state['torch'].cpu())
    name, keys, position, has_gauss, gauss = state['numpy']
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, cached = state['python']
    random.setstate((version, tuple(internal), cached))
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed all generators for the length of a block; afterwards they are as before."""
    before = random_state()
    try:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        yield
    finally:
        load_random_state(before)


class RandomnessOnResume:
    """Lets a training that goes on draw the random numbers that it would have drawn.

    Lightning makes the iterator of the training loader, which draws from the global generator, in the epoch, after the
    state that a checkpoint holds. Where it resumes, it also makes one between ``on_fit_start`` and ``on_train_start``,
    which the epoch takes in newer releases (2.5.5 and later). So the state is brought back at the first; if that iterator
    is taken, the state is kept once more at the second, past whatever the hooks of a fresh start draw; and it is brought
    back for good when the epoch starts. A training that is limited by its steps goes through the rest of the epoch that
    had ended first, if only through its hooks: the epoch after that one counts.

    Parameters
    ----------
    generators
        Further generators that the training draws from, such as that of its loader, which go the same way.
    """

    def __init__(self, generators: Sequence[torch.Generator] = ()) -> None:
        self._generators = tuple(generators)
        self._pending: dict[str, Any] | None = None

    def state(self) -> dict[str, Any]:
        """Return the states of all generators, as tensors and numbers only."""
        return {'random': random_state(), 'generators': [each.get_state() for each in self._generators]}

    def resume_from(self, state: dict[str, Any]) -> None:
        """Take what `state` returned when the checkpoint was written; further generators go on at once."""
        self._pending = state
        self._load_generators()

    def on_fit_start(self, trainer: pl.Trainer) -> None:
        """Restore the random numbers of the run that is resumed.

        ``trainer.estimated_stepping_batches``, which many schedules read, makes an iterator of the loader before this hook,
        from other random numbers. It is dropped: Lightning makes another one after this hook.
        """
        if self._pending is not None:
            trainer.fit_loop._combined_loader = None
        self._load()

    def on_train_start(self, trainer: pl.Trainer) -> None:
        """Keep the states of the generators if the iterator of the epoch has drawn already."""
        resuming = getattr(trainer.fit_loop, 'is_resuming', False)
        if self._pending is not None and resuming and not trainer.fit_loop.epoch_loop.restarting:
            self._pending = self.state()

    def on_train_epoch_start(self, trainer: pl.Trainer) -> None:
        """Go on with the random numbers of the run that is resumed."""
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
