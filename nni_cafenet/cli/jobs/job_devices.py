"""The processes of a job on several devices, started and connected before data and model are read."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...pruning import SILENT, TrainerOptions
from ...ranks import Launched, meet
from ...stages import check_ranks
from ..config import Configuration
from .prepare import trainer_of

__all__ = ['batch_text', 'devices_text', 'start_devices']


def start_devices(configuration: Configuration, say: Callable[[str], None]) -> None:
    """Start or join the processes of a job; a RanksError if they have other options than the first one."""
    options = trainer_of(configuration)
    if options.ranks == 1:
        return
    from pytorch_lightning import Trainer

    say(devices_text(options))
    meet(Trainer(**SILENT, **options.as_arguments()))
    # Whatever has no effect on the result may differ, except for the folder that all of them share.
    check_ranks({'options': {**configuration.nested(), 'device': '', 'devices': '', 'nodes': ''}})


def devices_text(options: TrainerOptions) -> str:
    """Return which devices a job uses, and who starts its processes."""
    if options.ranks == 1:
        return f'devices: 1 ({options.kind})'
    how = Launched.here().by
    kind = 'processes on CPUs' if options.kind == 'cpu' else f'{options.kind} devices'
    nodes = f' on {options.number_of_nodes} machines' if options.number_of_nodes > 1 else ''
    return (
        f'devices: {options.ranks} {kind}{nodes}, started by {how if how in ("torchrun", "srun") else "this command"}'
    )


def batch_text(asked: Configuration, batch: int) -> str:
    """Return how many samples a step of the optimizer sees, of batches of ``batch`` over all devices."""
    ranks, accumulated = trainer_of(asked).ranks, asked['training.accumulate']
    parts = [f'{accumulated} batches of {batch:,}'] if accumulated > 1 else []
    parts += [f'{math.ceil(batch / ranks):,} of a batch on each of {ranks} devices'] if ranks > 1 else []
    return f'effective batch size: {batch * accumulated:,}{" (" + ", ".join(parts) + ")" if parts else ""}'
