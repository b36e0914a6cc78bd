"""The state of every random generator that a training step may use, as plain data."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

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

    Lightning makes the iterator of the training loader, which draws from the global generator, between ``on_fit_start``
    and ``on_train_start`` where it resumes; else in the epoch, after the state that a checkpoint holds. So the state is
    brought back at the first, kept once more at the second, past whatever the hooks of a fresh start draw, and brought
    back for good when the epoch starts.

    Parameters
    ----------
    generators
        Further generators that the training draws from, such as that of its loader.
    """

    def __init__(self, generators: Sequence[torch.Generator] = ()) -> None:
        self._generators = tuple(generators)
        self._pending: dict[str, Any] | None = None

    def state(self) -> dict[str, Any]:
        """Return the states of all generators, for a checkpoint."""
        return {**random_state(), 'generators': [each.get_state() for each in self._generators]}

    def _load(self, state: dict[str, Any]) -> None:
        load_random_state(state)
        for generator, saved in zip(self._generators, state.get('generators', ())):
            generator.set_state(saved.cpu())

    @property
    def resuming(self) -> bool:
        """Whether a training goes on whose first epoch has not begun yet."""
        return self._pending is not None

    def resume_from(self, state: dict[str, Any]) -> None:
        """Take what `state` returned when the checkpoint was written."""
        self._pending = state

    def on_fit_start(self) -> None:
        """Go on with the random numbers of the run that is resumed."""
        if self._pending is not None:
            self._load(self._pending)

    def on_train_start(self) -> None:
        """Keep the state of the generators."""
        if self._pending is not None:
            self._pending = self.state()

    def on_train_epoch_start(self) -> None:
        """Go on with the random numbers of the run that is resumed."""
        if self._pending is not None:
            self._load(self._pending)
            self._pending = None
