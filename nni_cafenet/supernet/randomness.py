"""The state of every random generator that a training step may use, as plain data."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

__all__ = ['load_random_state', 'random_state', 'seeded']


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
