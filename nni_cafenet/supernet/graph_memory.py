"""Whether a training step may keep the graph of the best channel set while another one runs."""

from __future__ import annotations

import logging

import psutil
import torch

from ..options import SupernetOptions

__all__ = ['GraphMemory']

_logger = logging.getLogger(__name__)


class GraphMemory:
    """Whether two graphs fit in memory: ``keeps_two``, and whether that ``may_change`` to False.

    With ``'auto'`` they do until a second graph of the same size would exceed the free memory, or the device runs out
    of memory. On CUDA the size of a graph is the memory allocated while it was made. On a CPU it is the growth of the
    process since its first step, an upper bound. Free memory is that of the operating system, not of a container.
    """

    def __init__(self, memory: str) -> None:
        self.keeps_two = SupernetOptions.check('memory', memory) != 'lean'
        self.may_change = memory == 'auto'
        self._before: int | None = None
        self._largest = 0

    def before_graph(self, device: torch.device) -> None:
        """Measure the memory in use before a step makes its first graph."""
        if self.may_change and (self._before is None or device.type == 'cuda'):
            self._before = _used(device)

    def is_short(self, device: torch.device) -> bool:
        """Whether a second graph of the size of the last one would not fit."""
        graph = _used(device) - (self._before or 0)
        if graph <= self._largest:
            return False
        self._largest = graph
        return graph > _free(device)

    def fall_back(self, why: str) -> None:
        """Keep one graph from now on."""
        if self.keeps_two:
            _logger.info("%s: from now on a training step keeps one graph (memory='lean'; same results).", why)
        self.keeps_two = self.may_change = False


def _used(device: torch.device) -> int:
    """Return the bytes in use by this process."""
    if device.type == 'cuda':
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def _free(device: torch.device) -> int:
    """Return the free bytes."""
    if device.type == 'cuda':
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(psutil.virtual_memory().available)
