"""Selected positions of a dimension as runs of neighbors: a channel set is a prefix, or nearly one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ['Axes', 'IndexRuns', 'open_index']


class IndexRuns:
    """Selected positions of one dimension, ascending.

    Parameters
    ----------
    starts, lengths
        First position and length of each run; empty if nothing is selected.
    """

    __slots__ = ('_blocks', '_index', 'lengths', 'size', 'starts')

    def __init__(self, starts: Sequence[int], lengths: Sequence[int]) -> None:
        self.starts = starts or [0]
        self.lengths = lengths or [0]
        self.size = sum(lengths)
        self._index: Tensor | None = None
        self._blocks: list[tuple[int, int, int]] | None = None

    @property
    def span(self) -> int:
        """Number of positions from the first selected one to the last."""
        return self.starts[-1] + self.lengths[-1] - self.starts[0]

    def positions(self) -> NDArray[np.int64]:
        """Return the positions, shape (size,)."""
        before = np.cumsum([0, *self.lengths[:-1]])
        return np.repeat(np.asarray(self.starts, dtype=np.int64) - before, self.lengths) + np.arange(self.size)

    def index(self, device: torch.device | str = 'cpu') -> Tensor:
        """Return the positions as a tensor, int64 of shape (size,)."""
        device = torch.device(device)
        if self._index is None or self._index.device != device:
            self._index = torch.from_numpy(self.positions()).to(device)
        return self._index

    @property
    def blocks(self) -> list[tuple[int, int, int]]:
        """``(first position, offset in the slice, length)`` of each run."""
        if self._blocks is None:
            offsets = itertools.accumulate(self.lengths[:-1], initial=0)
            self._blocks = list(zip(self.starts, offsets, self.lengths))
        return self._blocks


Axes = tuple[IndexRuns | None, ...]
"""The selected runs of each dimension of a tensor; None for all positions."""


def open_index(tensor: Tensor, positions: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    """Return the index of a slice, as ``numpy.ix_`` does; None selects a whole dimension."""
    index = []
    for axis, (size, chosen) in enumerate(zip(tensor.shape, positions)):
        every = torch.arange(size, device=tensor.device) if chosen is None else chosen.to(tensor.device)
        index.append(every.reshape([-1 if other == axis else 1 for other in range(tensor.dim())]))
    return tuple(index)
