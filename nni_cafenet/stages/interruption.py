"""Ctrl-C and SIGTERM in a training, which Lightning turns into SystemExit."""

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
    """Let Ctrl-C and SIGTERM leave the training in this block as KeyboardInterrupt, and the signal's handler as it was."""
    on_interrupt = signal.getsignal(signal.SIGINT)
    reason = ''
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            reason = str(error.__context__)
        elif getattr(trainer, 'received_sigterm', False):  # under a handler of the program's own, Lightning's raises
            reason = TERMINATED
        if trainer.state.status != TrainerStatus.INTERRUPTED:
            raise
    if trainer.state.status == TrainerStatus.INTERRUPTED:  # some releases of Lightning return
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt(reason)
