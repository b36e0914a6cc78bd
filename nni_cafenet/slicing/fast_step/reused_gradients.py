"""Full-size gradients in reused memory, of which each step writes its slices only.

The backward of a plain slice fills a fresh full-size gradient with zeros, one dimension at a time, which takes longer than
a narrow network. Here a step clears the entries of the last step and writes its own: work in proportion to the slices
(measured in docs/performance.md).

The gradients of many parameters share one piece of memory, so a single check decides on its reuse: nobody else may hold a
part of it (an optimizer, a user who compares the gradients of two steps). It is cleared as a whole if someone may have
written to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...utils import version_of, zero_each
from ..index_runs import Axes
from .blocks import bounding_box, covers, write
from .reused_memory import TrackedMemory, aligned

__all__ = ['ReusedGradients']

_PROBES = 16  # entries of each gradient that are checked for changes
_MEMORIES = 2  # somebody may hold the gradients of the last step

_Form = tuple[tuple[int, ...], tuple[int, ...], int]  # shape, strides and offset of a gradient


class ReusedGradients:
    """Full-size gradients of parameters of one dtype and device, with the strides of these.

    Memory is reused on a CPU only: other devices make zeros fast, and checking values would synchronize.

    Attributes
    ----------
    size : int
        Number of elements of the shared memory.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.size = 0
        self._forms: list[_Form] = []
        probes = []
        for parameter in parameters:
            stride = torch.empty_like(parameter, device='meta').stride()  # also right for tensors with gaps
            self._forms.append((tuple(parameter.shape), stride, self.size))
            probes.append(self.size + _spaced(parameter.numel()))
            self.size += aligned(parameter.numel())
        self._probes = torch.cat(probes)
        self._like = parameters[0].new_empty(0)
        self._reuses = parameters[0].device.type == 'cpu'
        self._memories: list[_GradientMemory] = []

    def scatter(self, chosen: Mapping[int, Axes], slices: Sequence[Tensor]) -> list[Tensor]:
        """Return full-size gradients with the given slices, zero elsewhere.

        Parameters
        ----------
        chosen
            ``{index of the parameter: its selected runs}``.
        slices
            The gradients of the slices.
        """
        reused = next((each for each in self._memories if each.is_free), None)
        if reused is None:
            reused = _GradientMemory(self._like.new_zeros(self.size), self._forms, self._probes)
            if self._reuses:
                self._memories = [*self._memories, reused][-_MEMORIES:]
        else:
            reused.clear(chosen)
        gradients = [reused.memory.as_strided(*self._forms[index]) for index in chosen]
        write(gradients, list(chosen.values()), slices)
        if self._reuses:
            reused.note(chosen)
        return gradients


class _GradientMemory(TrackedMemory):
    """Memory that is zero outside the slices of the last step."""

    def __init__(self, memory: Tensor, forms: Sequence[_Form], probes: Tensor) -> None:
        super().__init__(memory)
        self._forms = forms
        self._probes = probes

    def note(self, written: Mapping[int, Axes]) -> None:
        """Remember what was written."""
        self._written, self._version = written, version_of(self.memory)
        self._seen = self.memory.index_select(0, self._probes)

    def clear(self, chosen: Mapping[int, Axes]) -> None:
        """Clear everything that the next step does not write."""
        memory = self.memory
        # Values are compared, since writes through `.data` do not count as a version.
        if version_of(memory) != self._version or not torch.equal(memory.index_select(0, self._probes), self._seen):
            memory.zero_()
            return
        stale = [
            bounding_box(memory.as_strided(*self._forms[index]), axes)
            for index, axes in self._written.items()
            if index not in chosen or not covers(chosen[index], axes)
        ]
        if stale:
            zero_each(stale)


def _spaced(size: int) -> Tensor:
    """Return evenly spaced positions, an odd number apart so that they fall on many channels."""
    return torch.arange(0, size, max(math.ceil(size / _PROBES), 1) | 1)
