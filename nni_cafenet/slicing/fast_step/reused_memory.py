"""Memory reused from earlier steps once nobody holds it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...utils import storage_uses

__all__ = ['ReusedMemory', 'TrackedMemory', 'aligned']

_LINE = 16  # elements; tensors begin at multiples of it, as torch's own do
_GRAPHS = 2  # alive at once in min-min training


class TrackedMemory:
    """A tensor that nobody else holds yet, and whether views of it are in use."""

    def __init__(self, memory: Tensor) -> None:
        self.memory = memory
        self._own_uses = storage_uses(memory)

    @property
    def is_free(self) -> bool:
        """Whether nobody else holds a view."""
        return storage_uses(self.memory) == self._own_uses


class ReusedMemory:
    """Memory for slices of one dtype and device.

    Filling fresh memory takes twice as long, since the operating system hands it out page by page and gets it back after
    every step. On devices other than a CPU torch reuses memory itself.

    Parameters
    ----------
    size
        Number of elements of the largest selection.
    like
        A tensor of the dtype and device.
    """

    def __init__(self, size: int, like: Tensor) -> None:
        self._size = size
        self._like = like.new_empty(0)
        self._reuses = like.device.type == 'cpu'
        self._pool: list[TrackedMemory] = []

    def allocate(self, sizes: Sequence[int]) -> Sequence[Tensor]:
        """Allocate one flat tensor per size, each with its own version counter."""
        lines = [aligned(size) for size in sizes]
        return torch.unsafe_split_with_sizes(self._from_pool(sum(lines)), lines) if lines else ()

    def _from_pool(self, size: int) -> Tensor:
        if not self._reuses:
            return self._like.new_empty(size)
        free = next((each for each in self._pool if each.is_free), None)
        if free is None:
            free = TrackedMemory(self._like.new_empty(self._size))  # its pages take no memory before they are filled
            self._pool = [*self._pool, free][-_GRAPHS:]
        return free.memory[:size]


def aligned(size: int) -> int:
    """Round a number of elements up to a multiple of the alignment."""
    return -(-size // _LINE) * _LINE
