"""Many small tensors at once: scales, biases, running statistics, depthwise filters.

They outnumber large matrices and are so small that calling torch takes longer than the work. Tensors that agree in all
dimensions but the first are concatenated along it, then read or written by one call.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...graph import ChannelGraph
from ...utils import copy_each
from ..selection import Selection

__all__ = ['SelectedRows', 'SmallTensors']


class SmallTensors:
    """Parameters or buffers of one dtype and device that agree in all dimensions but the first, which follows widths."""

    def __init__(self, graph: ChannelGraph, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._layouts = tuple(index for name in names if (index := graph.dims[name][0]) is not None)
        self._lengths = [len(graph.layouts[index]) for index in self._layouts]

    def selected(self, selection: Selection) -> SelectedRows:
        """Return a selection of them."""
        sizes = selection.sizes
        index = selection.joined_index(self._layouts)
        return SelectedRows(self.names, index, [sizes[layout] for layout in self._layouts], self._lengths)


class SelectedRows:
    """A selection of small tensors along their first dimension.

    Parameters
    ----------
    names
        Names of the tensors.
    index
        Selected rows of the concatenated tensors, ascending int64.
    sizes, lengths
        Number of selected rows, and of all rows, of each tensor.
    """

    def __init__(self, names: Sequence[str], index: Tensor, sizes: Sequence[int], lengths: Sequence[int]) -> None:
        self.names = names
        self._index = index
        self._sizes = list(sizes)
        self._lengths = list(lengths)

    def _index_on(self, device: torch.device) -> Tensor:
        self._index = self._index.to(device)
        return self._index

    def read(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return copies of the selected rows of each tensor."""
        joined = torch.cat(list(tensors))
        # "unsafe": each slice has its own version counter, so writing to one does not invalidate the others for autograd
        return torch.unsafe_split_with_sizes(joined.index_select(0, self._index_on(joined.device)), self._sizes)

    def scatter(self, slices: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """Return full-size tensors with the given rows, zero elsewhere; None for None."""
        known = [each for each in slices if each is not None]
        if not known:
            return slices
        rest = known[0].shape[1:]
        filled = [
            known[0].new_zeros((size, *rest)) if each is None else each for each, size in zip(slices, self._sizes)
        ]
        full = known[0].new_zeros((sum(self._lengths), *rest))
        full.index_copy_(0, self._index_on(full.device), torch.cat(filled))
        wholes = torch.unsafe_split_with_sizes(full, self._lengths)
        return [None if each is None else whole for each, whole in zip(slices, wholes)]

    def write(self, tensors: Sequence[Tensor], slices: Sequence[Tensor]) -> None:
        """Write the selected rows of each tensor, in place."""
        full = torch.cat(list(tensors))
        full.index_copy_(0, self._index_on(full.device), torch.cat(list(slices)))
        copy_each(list(tensors), torch.unsafe_split_with_sizes(full, self._lengths))
