"""The processes of a run meet before its long work, so that differences between them are found at the start."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time

import pytorch_lightning as pl
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from .agreement import gathered, rank_and_ranks

__all__ = ['meet']

_logger = logging.getLogger(__name__)

_GRACE = 10.0
"""Seconds that processes have to end by themselves once the first one ends."""


def meet(trainer: pl.Trainer) -> None:
    """Start the other processes of a trainer, if its strategy does that by running the script again, and connect them.

    Nothing happens without other processes, or if they have met. Strategies that fork or spawn start their processes
    when the training starts.
    """
    launcher = trainer.strategy.launcher
    if trainer.world_size == 1 or rank_and_ranks()[1] > 1 or not isinstance(launcher, _SubprocessScriptLauncher):
        return
    external = launcher.cluster_environment.creates_processes_externally
    launcher.launch(lambda: None, trainer=trainer)
    if not external:
        atexit.register(_end_others, launcher)
    trainer.strategy.setup_environment()
    first = gathered(os.getpid())[0]
    if os.getppid() == first:
        threading.Thread(target=_end_with, args=(first,), daemon=True, name='nni-cafenet-parent').start()


def _end_others(launcher: _SubprocessScriptLauncher) -> None:
    """Let the processes that this one has started end, before it ends itself."""
    end = time.monotonic() + _GRACE
    while time.monotonic() < end and any(process.poll() is None for process in launcher.procs):
        time.sleep(0.1)
    for process in launcher.procs:
        if process.poll() is None:
            process.kill()


def _end_with(parent: int) -> None:
    """End this process after its parent: a collective on a GPU would wait for it."""
    while os.getppid() == parent:
        time.sleep(1)
    time.sleep(_GRACE)
    _logger.error('The first process of the run has ended, so this one ends, too.')
    os._exit(1)
