"""The devices and the precision of training, as options of Lightning's trainer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from ..options import RecipeOptions
from ..ranks import STRATEGIES, Launched

__all__ = ['TrainerOptions']

_OF_ONE_NODE = ('MASTER_ADDR', 'MASTER_PORT', 'NODE_RANK')


@dataclass(frozen=True)
class TrainerOptions:
    """Devices and precision of training; a ValueError if there is no such device, or not as many.

    A device is ``'auto'``, ``'cpu'``, ``'cuda'``, ``'cuda:1'`` or ``'mps'``; precision is named as in Lightning.
    ``devices`` is the number of processes on each of ``nodes`` machines, a device each; None: what torchrun or srun has
    started, else 1. On a CPU they may be more than its cores. For ``strategy``, see `prune`.
    """

    device: str = 'auto'
    precision: str = '32-true'
    devices: int | None = None
    nodes: int | None = None
    strategy: str = 'auto'

    def __post_init__(self) -> None:
        kind, colon, index = self.device.partition(':') if isinstance(self.device, str) else ('', '', '')
        if kind not in ('auto', 'cpu', 'cuda', 'mps') or (colon and not (kind == 'cuda' and index.isdigit())):
            raise ValueError(f"device={self.device!r} must be 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'.")
        if kind == 'cuda' and not torch.cuda.is_available():
            raise ValueError(f"device={self.device!r}: torch finds no CUDA device. Use device='cpu'.")
        if colon and int(index) >= torch.cuda.device_count():
            raise ValueError(
                f'device={self.device!r}: there are only {torch.cuda.device_count()} CUDA devices, starting at cuda:0.'
            )
        if kind == 'mps' and not torch.backends.mps.is_available():
            raise ValueError(f"device={self.device!r}: torch finds no such device. Use device='cpu'.")
        for name in ('devices', 'nodes', 'strategy'):
            RecipeOptions.check(name, getattr(self, name))
        self._check_number(kind)
        self._check_launched()

    def _check_number(self, kind: str) -> None:
        number, there = self.on_this_node, torch.cuda.device_count()
        if number == 1:
            return
        if ':' in self.device:
            raise ValueError(f"devices={number}: device={self.device!r} is a single one. Give device='cuda'.")
        if self._is_cuda(kind) and number > there:
            raise ValueError(
                f'devices={number}: there are only {there} CUDA devices on this machine. Give devices={there}, or more '
                'machines: nodes=.'
            )
        if kind == 'mps' or (kind == 'auto' and not self._is_cuda(kind) and torch.backends.mps.is_available()):
            raise ValueError(f"devices={number}: there is one device of the kind mps. Give devices=1, or device='cpu'.")

    def _check_launched(self) -> None:
        """Raise if the processes that were started are not those that are asked for."""
        launched = Launched.here()
        started = launched.ranks
        if launched.by and started is not None and self.ranks != started:
            how = {'torchrun': '--nnodes and --nproc-per-node', 'srun': '--nodes and --ntasks-per-node'}
            raise ValueError(
                f'devices={self.on_this_node}, nodes={self.number_of_nodes}: {launched.by} has started {started} '
                f'processes, not {self.ranks}. Omit devices and nodes, or start as many by {how.get(launched.by, "them")}.'
            )
        missing = [name for name in _OF_ONE_NODE if name not in os.environ]
        if not launched.by and self.number_of_nodes > 1 and missing:
            raise ValueError(
                f'nodes={self.number_of_nodes}: start the command on every node by torchrun or srun; or set '
                f'{", ".join(missing)} and start it on every node.'
            )

    @staticmethod
    def _is_cuda(kind: str) -> bool:
        return kind == 'cuda' or (kind == 'auto' and torch.cuda.is_available())

    @property
    def number_of_nodes(self) -> int:
        """The number of machines."""
        launched = Launched.here()
        return self.nodes or (launched.nodes if launched.by in ('torchrun', 'srun') else None) or 1

    @property
    def on_this_node(self) -> int:
        """The number of devices that are used on each machine."""
        launched = Launched.here()
        return self.devices or (launched.on_this_node if launched.by in ('torchrun', 'srun') else None) or 1

    @property
    def ranks(self) -> int:
        """The number of processes of the run."""
        return self.on_this_node * self.number_of_nodes

    @property
    def kind(self) -> str:
        """The kind of device: ``'cuda'``, ``'mps'`` or ``'cpu'``."""
        kind = self.device.partition(':')[0]
        if kind != 'auto':
            return kind
        return 'cuda' if self._is_cuda(kind) else 'mps' if torch.backends.mps.is_available() else 'cpu'

    def as_arguments(self) -> dict[str, Any]:
        """Return the options as arguments of Lightning's trainer."""
        kind, _, index = self.device.partition(':')
        accelerator = 'gpu' if kind == 'cuda' else kind
        if self.ranks == 1 and self.strategy == 'auto':
            return {'accelerator': accelerator, 'devices': [int(index)] if index else 1, 'precision': self.precision}
        arguments: dict[str, Any] = {
            'accelerator': accelerator,
            'devices': [int(index)] if index else self.on_this_node,
            'num_nodes': self.number_of_nodes,
            'strategy': STRATEGIES['ddp' if self.strategy == 'auto' else self.strategy],
            'use_distributed_sampler': False,  # the strategy divides batches
            'precision': self.precision,
        }
        if (
            Launched.here().by == 'srun'
        ):  # a job that Slurm starts again resumes by its command, not by Lightning's files
            arguments['plugins'] = [SLURMEnvironment(auto_requeue=False)]
        return arguments
