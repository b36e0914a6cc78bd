"""Vectors of channels, many at once: biases, scales and running statistics.

A network has more vectors than matrices, and they are so short that a call of torch takes longer than its work. Joined to
one tensor they are selected, and written, by one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .graph import ChannelGraph
from .selection import Selection

__all__ = ['SelectedVectors', 'Vectors']


class Vectors:
    """Some vectors of a model, joined.

    Parameters
    ----------
    graph
        The model's channel graph.
    names
        Names of parameters or buffers of one dimension.
    """

    def __init__(self, graph: ChannelGraph, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._layouts = [index for name in names for index in graph.dims[name] if index is not None]
        self._slots = np.concatenate([graph.slots[index] for index in self._layouts] or [np.arange(0)])
        self._lengths = [len(graph.layouts[index]) for index in self._layouts]

    def can_join(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether these vectors, among some tensors by name, are all of one kind; not where there are none."""
        kinds = {
            (tensor.dtype, tensor.device, tensor.is_contiguous()) for tensor in map(tensors.__getitem__, self.names)
        }
        return len(kinds) == 1 and kinds.pop()[2]

    def selected(self, selection: Selection) -> SelectedVectors:
        """Return what is selected of them."""
        index = torch.from_numpy(np.flatnonzero(selection.slots[self._slots]))
        return SelectedVectors(index, [selection.sizes[layout] for layout in self._layouts], self._lengths)


class SelectedVectors:
    """What is selected of some vectors.

    Parameters
    ----------
    index
        Where the selected entries stand in the joined vectors, ascending int64.
    sizes, lengths
        Number of selected entries, and of all, of each vector.
    """

    def __init__(self, index: Tensor, sizes: Sequence[int], lengths: Sequence[int]) -> None:
        self._index = index
        self._sizes = list(sizes)
        self._lengths = list(lengths)

    def __len__(self) -> int:
        return len(self._sizes)

    def _index_on(self, device: torch.device) -> Tensor:
        self._index = self._index.to(device)
        return self._index

    def read(self, vectors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return copies of the selected entries of each vector."""
        joined = torch.cat(list(vectors))
        # Parts that count their versions each by itself: one that is written to does not spoil the others for autograd.
        return torch.unsafe_split_with_sizes(joined.index_select(0, self._index_on(joined.device)), self._sizes)

    def spread(self, parts: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """Return vectors that have the selected entries, and are zero elsewhere; None for None."""
        known = [part for part in parts if part is not None]
        if not known:
            return parts
        filled = [known[0].new_zeros(size) if part is None else part for part, size in zip(parts, self._sizes)]
        joined = torch.cat(filled)
        full = torch.zeros(sum(self._lengths), dtype=joined.dtype, device=joined.device)
        full.index_copy_(0, self._index_on(joined.device), joined)
        spread = torch.unsafe_split_with_sizes(full, self._lengths)
        return [None if part is None else whole for part, whole in zip(parts, spread)]

    def write(self, vectors: Sequence[Tensor], parts: Sequence[Tensor]) -> None:
        """Write the selected entries of each vector, in place."""
        full = torch.cat(list(vectors))
        full.index_copy_(0, self._index_on(full.device), torch.cat(list(parts)))
        torch._foreach_copy_(list(vectors), torch.unsafe_split_with_sizes(full, self._lengths))
