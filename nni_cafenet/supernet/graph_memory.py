"""Room for graphs: whether a training step may keep that of the best channel set while another one runs."""

from __future__ import annotations

import logging

import psutil
import torch

__all__ = ['MEMORY_MODES', 'GraphMemory', 'check_memory']

MEMORY_MODES = ('auto', 'fast', 'lean')
"""What a user may ask for."""

_logger = logging.getLogger(__name__)


def check_memory(memory: str) -> str:
    """Return what a user asks for; a ValueError where it is no such thing."""
    if memory not in MEMORY_MODES:
        raise ValueError(f"memory={memory!r} must be 'auto', 'fast' (two graphs at once) or 'lean' (one).")
    return memory


class GraphMemory:
    """Whether two graphs fit side by side.

    Parameters
    ----------
    memory
        ``'fast'``: yes. ``'lean'``: no. ``'auto'``: until one is seen beside which a second of its size would not fit
        into what is free, or the device runs out of memory. Then no, for good.

    Attributes
    ----------
    keeps_two
        Whether two graphs fit.
    is_open
        Whether that may still turn out to be wrong.

    Notes
    -----
    On CUDA a graph is what was allocated while it was made. On a CPU it is what the process has grown by since before its
    first step, which is more; what is free is what the operating system says, whatever the limit of a container.
    """

    def __init__(self, memory: str) -> None:
        self.keeps_two = check_memory(memory) != 'lean'
        self.may_change = memory == 'auto'
        self._before: int | None = None
        self._largest = 0

    def before_graph(self, device: torch.device) -> None:
        """Take note of the memory in use before a step makes its first graph."""
        if self.may_change and (self._before is None or device.type == 'cuda'):
            self._before = _used(device)

    def is_short(self, device: torch.device) -> bool:
        """Whether a second graph like the one that was just made would not fit."""
        graph = _used(device) - (self._before or 0)
        if graph <= self._largest:
            return False
        self._largest = graph
        return graph > _free(device)

    def fall_back(self, why: str) -> None:
        """Make do with one graph from now on."""
        if self.keeps_two:
            _logger.info("%s: from now on a training step keeps one graph (memory='lean'; same results).", why)
        self.keeps_two = self.may_change = False


def _used(device: torch.device) -> int:
    """Return the bytes that this process uses."""
    if device.type == 'cuda':
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def _free(device: torch.device) -> int:
    """Return the bytes that are left."""
    if device.type == 'cuda':
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(psutil.virtual_memory().available)
