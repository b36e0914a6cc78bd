"""How this process was started: alone, by torchrun, by srun, or by Lightning; free of torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ['Launched']

_INTERACTIVE = ('bash', 'interactive')
"""Names of Slurm jobs in which Lightning starts the processes by itself."""


@dataclass(frozen=True)
class Launched:
    """What a launcher tells a process in its environment, as Lightning reads it.

    ``by`` is ``'torchrun'``, ``'srun'``, ``'Lightning'``, or ``''`` for a process started alone. ``ranks`` and
    ``on_this_node`` count processes: of the run, and of this node; None if the launcher does not say.
    """

    by: str = ''
    rank: int = 0
    local_rank: int = 0
    ranks: int | None = 1
    on_this_node: int | None = 1

    @classmethod
    def here(cls, environment: Mapping[str, str] | None = None) -> Launched:
        """Return what the environment says, by default that of this process."""
        given = os.environ if environment is None else environment

        def number(name: str) -> int | None:
            return int(given[name]) if given.get(name, '').isdigit() else None

        if 'TORCHELASTIC_RUN_ID' in given:
            counts = number('WORLD_SIZE'), number('LOCAL_WORLD_SIZE')
            return cls('torchrun', number('RANK') or 0, number('LOCAL_RANK') or 0, *counts)
        if (number('SLURM_NTASKS') or 0) > 1 and given.get('SLURM_JOB_NAME') not in _INTERACTIVE:
            counts = number('SLURM_NTASKS'), number('SLURM_NTASKS_PER_NODE')
            return cls('srun', number('SLURM_PROCID') or 0, number('SLURM_LOCALID') or 0, *counts)
        if number('LOCAL_RANK') is not None and number('WORLD_SIZE') is not None:
            local, node = number('LOCAL_RANK') or 0, number('NODE_RANK') or 0
            # How many processes a node has is known to Lightning alone; only whether this is the first one matters.
            return cls('Lightning', local + node, local, number('WORLD_SIZE'), None)
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    @property
    def nodes(self) -> int | None:
        """The number of nodes, if the launcher says it."""
        if self.ranks is None or not self.on_this_node:
            return None
        return self.ranks // self.on_this_node
