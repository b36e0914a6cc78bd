"""Memory that an earlier step has left, and whether somebody still holds it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...utils import storage_uses

__all__ = ['ReusedMemory', 'TrackedMemory', 'aligned']

_LINE = 16  # elements; pieces begin at multiples of it, as tensors that torch makes do
_GRAPHS = 2  # that are alive at once in min-min training


class TrackedMemory:
    """Memory of which others may be given parts.

    Parameters
    ----------
    memory
        A tensor that nobody else holds yet.
    """

    def __init__(self, memory: Tensor) -> None:
        self.memory = memory
        self._own_uses = storage_uses(memory)

    @property
    def is_free(self) -> bool:
        """Whether nobody else holds any of it."""
        return storage_uses(self.memory) == self._own_uses


class ReusedMemory:
    """Memory for parts of tensors of one dtype and device, used again once nobody holds it.

    To fill fresh memory takes twice as long: the operating system hands out a page at a time, and is given them back
    after every step. On other devices than a CPU torch keeps memory itself.

    Parameters
    ----------
    size
        Number of elements that are enough for whatever is selected.
    like
        A tensor of their dtype and device.
    """

    def __init__(self, size: int, like: Tensor) -> None:
        self._size = size
        self._like = like.new_empty(0)
        self._reuses = like.device.type == 'cpu'
        self._pool: list[TrackedMemory] = []

    def allocate(self, sizes: Sequence[int]) -> Sequence[Tensor]:
        """Return memory for tensors of some numbers of elements; each counts its versions by itself."""
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
    """Return a number of elements after which the next piece may begin."""
    return -(-size // _LINE) * _LINE
