"""Ctrl-C and SIGTERM during training, which Lightning turns into SystemExit."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerStatus

from ..utils import TERMINATED

__all__ = ['keyboard_interrupts']


@contextlib.contextmanager
def keyboard_interrupts(trainer: pl.Trainer) -> Iterator[None]:
    """Raise KeyboardInterrupt when Ctrl-C or SIGTERM stops training, and restore the signal handler."""
    on_interrupt = signal.getsignal(signal.SIGINT)
    reason = ''
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            reason = str(error.__context__)
        elif getattr(trainer, 'received_sigterm', False):  # Lightning raises only under a custom handler
            reason = TERMINATED
        if trainer.state.status != TrainerStatus.INTERRUPTED:
            raise
    if trainer.state.status == TrainerStatus.INTERRUPTED:  # some releases of Lightning return normally
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt(reason)
