"""The time that is left of a run, estimated from the first steps: one line, and a hint in each progress bar."""

from __future__ import annotations

import logging
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from tqdm.auto import tqdm

from ..errors import DamagedFileError
from ..search import Scored
from ..utils import format_duration, read_record, write_record

__all__ = ['StepClock', 'TimeLeft', 'Work']

_STEPS = 4
_SECONDS = 2.0
"""The steps that are timed after the first, or as many as take this long."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What is left of each stage, in forwards of a training batch at the mean cost of the supernet's widths.

    ``supernet`` is the whole training, ``step`` one step of it, ``width`` the score of a width; None where a training has
    no length that is known. ``widths`` is the number that is left to be scored, ``scored`` the number that were before.
    ``finalist`` is the training of a network, ``finalists`` the number of these that are left.
    """

    supernet: float | None
    step: float
    width: float
    widths: int
    scored: int
    finalist: float | None
    finalists: float


class TimeLeft:
    """Estimates the time that is left of a run in this process, from its first steps or its first score.

    One line is shown, as soon as something has been timed. ``path`` keeps the seconds of a forward, so that a resumed run
    has its line at once. Nothing here draws random numbers, or touches the model.
    """

    def __init__(self, work: Work, path: Path, *, show: bool) -> None:
        self.work = work
        self._path = path
        self._show = show
        self._seconds = _read(path)
        self._told = False
        self._scored = work.scored

    def stepped(self, seconds: float, left: float) -> None:
        """Take the seconds of a training step of the supernet, of which a share is ``left``."""
        self._take(seconds / self.work.step)
        self._tell(left)

    def resumed(self) -> None:
        """Show the line for a supernet that is trained, if an earlier process has timed its steps."""
        if self._seconds is not None:
            self._tell(0)

    def watched(self, score: Callable[[Mapping[str, int]], Scored]) -> Callable[[Mapping[str, int]], Scored]:
        """Return a function that scores widths, and is timed if nothing was timed before."""

        def timed(widths: Mapping[str, int]) -> Scored:
            start = time.perf_counter()
            scored = score(widths)
            if self._seconds is None:
                self._take((time.perf_counter() - start) / self.work.width)
                self._tell(0)
            return scored

        return score if self._seconds is not None else timed

    def of_search(self, widths: int) -> str:
        """Return the time of the next widths of the search, as a progress bar shows it before its first item ends."""
        known = min(widths, self._scored)
        self._scored -= known
        return self._hint((widths - known) * self.work.width)

    def of_finalists(self, number: int) -> str:
        """Return the time of the next trainings of networks, as a progress bar shows it."""
        return self._hint(None if self.work.finalist is None else number * self.work.finalist)

    def _hint(self, forwards: float | None) -> str:
        if self._seconds is None or not forwards:
            return ''
        return f'expected: ~{format_duration(forwards * self._seconds)}'

    def _take(self, seconds: float) -> None:
        self._seconds = seconds
        if self._show:
            with suppress(OSError):  # an estimate is not worth the run
                write_record(self._path, {'seconds_per_forward': seconds})

    def _tell(self, left: float) -> None:
        if self._told or self._seconds is None:
            return
        self._told = True
        work = self.work
        stages = {
            'supernet': None if work.supernet is None else left * work.supernet,
            'search': work.widths * work.width,
            'finalists': None if work.finalist is None else work.finalists * work.finalist,
        }
        parts = [
            f'{name} ~{format_duration(forwards * self._seconds)}' for name, forwards in stages.items() if forwards
        ]
        if parts and self._show:
            text = f'Expected: {", ".join(parts)}.'
            _logger.info('%s', text)
            tqdm.write(text, file=sys.stderr)


class StepClock(pl.Callback):
    """Takes the time of the first training steps, data included, and passes on the median and the share that is left."""

    def __init__(self, passes: Callable[[float, float], None]) -> None:
        self._passes = passes
        self._last: float | None = None
        self._times: list[float] = []
        self._done = False

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Start at the first batch."""
        if self._last is None:
            self._last = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Take the time of a step; the first one prepares, and counts only if it is the only one."""
        if self._done or self._last is None:
            return
        now = time.perf_counter()
        self._times.append(now - self._last)
        self._last = now
        if len(self._times) > _STEPS or sum(self._times) > _SECONDS:
            self._pass(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take what there is of a short epoch."""
        if self._times and not self._done:
            self._pass(trainer)

    def _pass(self, trainer: pl.Trainer) -> None:
        self._done = True
        self._passes(statistics.median(self._times[1:] or self._times), 1 - _share_done(trainer))


def _share_done(trainer: pl.Trainer) -> float:
    """Return the share of a training that earlier processes did."""
    epochs, steps = trainer.max_epochs or -1, trainer.max_steps
    shares = [trainer.current_epoch / epochs] if epochs > 0 else []
    shares += [trainer.global_step / steps] if steps > 0 else []
    return min(1.0, max(shares, default=0.0))


def _read(path: Path) -> float | None:
    with suppress(OSError, DamagedFileError, KeyError, TypeError, ValueError):
        seconds = float(read_record(path, remedy='delete it')['seconds_per_forward'])
        return seconds if 0 < seconds < float('inf') else None
    return None
