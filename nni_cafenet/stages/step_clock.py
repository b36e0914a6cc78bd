"""The time of a training step, from the first ones of a training: of its forwards, of its backward, and of the rest."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch

from ..options import FORWARDS_PER_BACKWARD

__all__ = ['StepClock', 'StepTime']

_STEPS = 4
_SECONDS = 2.0
"""The steps that are timed after the first, or as many as take this long."""


@dataclass(frozen=True)
class StepTime:
    """Seconds of a training step.

    ``whole`` is a step with everything between two of them, such as the next batch; ``forward`` the forward of one network
    in it, without gradients; ``rest`` what is neither forward nor backward, and does not grow with the network. In small
    networks the rest is most of a step, and so is the preparation of channel sets in a supernet, which scores and networks
    with fixed widths do not have. So ``forward`` is the smaller one of a forward of the step and a share of its backward.
    """

    whole: float
    forward: float
    rest: float

    def of_network(self, share: float = 1.0) -> float:
        """Return the seconds of a training step of a network with fixed widths and a share of the MACs."""
        return self.rest + share * self.forward * (1 + FORWARDS_PER_BACKWARD)


class StepClock(pl.Callback):
    """Times the first training steps, and passes on their medians and the share of the training that is left.

    ``networks`` and ``forwards`` are the numbers of widths and of forwards in a step: a supernet runs several channel sets
    of each width, and a backward of one of them.
    """

    def __init__(
        self, passes: Callable[[StepTime, float], None] | None = None, *, networks: int = 1, forwards: int = 1
    ) -> None:
        self.time: StepTime | None = None
        self._passes = passes
        self._networks, self._forwards = networks, forwards
        self._last: float | None = None  # the end of the step before
        self._started = self._since = 0.0
        self._forward = self._backward = 0.0
        self._steps: list[tuple[float, float, float]] = []  # whole, forward, backward

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Start a step."""
        if self.time is None:
            self._started = _now(trainer)
            self._last = self._started if self._last is None else self._last
            self._forward = self._backward = 0.0

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Take the time of the forwards."""
        if self.time is None:
            self._since = _now(trainer)
            self._forward = self._forward or self._since - self._started

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the time of a backward."""
        if self.time is None:
            self._backward += _now(trainer) - self._since

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Take the time of a step; the first one prepares, and counts only if it is the only one."""
        if self.time is not None or self._last is None:
            return
        now = _now(trainer)
        self._steps.append((now - self._last, self._forward, self._backward))
        self._last = now
        timed = self._steps[1:]
        if len(timed) >= _STEPS or sum(whole for whole, _, _ in timed) > _SECONDS:
            self._pass(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take what there is of a short epoch."""
        if self._steps and self.time is None:
            self._pass(trainer)

    def _pass(self, trainer: pl.Trainer) -> None:
        whole, forward, backward = map(statistics.median, zip(*(self._steps[1:] or self._steps)))
        if forward and backward:
            each = min(forward / self._forwards, backward / (self._networks * FORWARDS_PER_BACKWARD))
            self.time = StepTime(whole, each, max(0.0, whole - forward - backward))
        else:  # a step without a backward that Lightning sees
            self.time = StepTime(whole, whole / (self._forwards + self._networks * FORWARDS_PER_BACKWARD), 0.0)
        if self._passes is not None:
            self._passes(self.time, 1 - _share_done(trainer))


def _now(trainer: pl.Trainer) -> float:
    """Return the time at which the device has done what it was given."""
    torch.get_device_module(trainer.strategy.root_device.type).synchronize()
    return time.perf_counter()


def _share_done(trainer: pl.Trainer) -> float:
    """Return the share of a training that earlier processes did."""
    epochs, steps = trainer.max_epochs or -1, trainer.max_steps
    shares = [trainer.current_epoch / epochs] if epochs > 0 else []
    shares += [trainer.global_step / steps] if steps > 0 else []
    return min(1.0, max(shares, default=0.0))
