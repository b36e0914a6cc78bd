"""The time that is left of a run, estimated from the first steps: one line, and a hint in each progress bar."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

from tqdm.auto import tqdm

from ..errors import DamagedFileError
from ..options import FORWARDS_PER_BACKWARD
from ..search import Scored
from ..utils import format_duration, read_record, write_record
from .step_clock import StepClock, StepTime

__all__ = ['TimeLeft', 'Work']

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What is left of each stage.

    ``steps`` are those of the whole training of the supernet, ``networks`` and ``forwards`` the widths and the forwards in
    one. ``width`` is the score of a width, in forwards of such a step; ``widths`` are left to be scored, ``scored`` were
    before. ``finalist`` are the steps in the training of a network, ``share`` its MACs as a share of the mean in the
    supernet, ``finalists`` the trainings that are left. None stands for a training without a length that is known.
    """

    steps: float | None
    networks: int
    forwards: int
    width: float
    widths: int
    scored: int
    finalist: float | None
    share: float
    finalists: float


class TimeLeft:
    """Estimates the time that is left of a run in this process, from its first steps or its first score.

    One line is shown, as soon as something has been timed. ``path`` keeps the seconds of a step, so that a resumed run
    has its line at once. Nothing here draws random numbers, or touches the model.
    """

    def __init__(self, work: Work, path: Path, *, show: bool) -> None:
        self.work = work
        self._path = path
        self._show = show
        self._time = _read(path)
        self._told = False
        self._scored = work.scored

    def clock(self) -> StepClock:
        """Return a callback that times the first training steps of the supernet."""
        return StepClock(self.stepped, networks=self.work.networks, forwards=self.work.forwards)

    def stepped(self, time: StepTime, left: float) -> None:
        """Take the time of a training step of the supernet, of which a share is ``left``."""
        self._take(time)
        self._tell(left)

    def resumed(self) -> None:
        """Show the line for a supernet that is trained, if an earlier process has timed its steps."""
        if self._time is not None:
            self._tell(0)

    def watched(self, score: Callable[[Mapping[str, int]], Scored]) -> Callable[[Mapping[str, int]], Scored]:
        """Return a function that scores widths, and is timed if nothing was timed before."""

        def timed(widths: Mapping[str, int]) -> Scored:
            start = perf_counter()
            scored = score(widths)
            if self._time is None:
                self._take(self._of_forward((perf_counter() - start) / self.work.width))
                self._tell(0)
            return scored

        return score if self._time is not None else timed

    def of_search(self, widths: int) -> str:
        """Return the time of the next widths of the search, as a progress bar shows it before its first item ends."""
        known = min(widths, self._scored)
        self._scored -= known
        return '' if self._time is None else _hint((widths - known) * self.work.width * self._time.forward)

    def of_finalists(self, number: int) -> str:
        """Return the time of the next trainings of networks, as a progress bar shows it."""
        return '' if self._time is None else _hint(number * self._of_finalist(self._time))

    def _of_finalist(self, time: StepTime) -> float:
        """Return the seconds of the training of a network; 0 if they are not known."""
        return (self.work.finalist or 0) * time.of_network(self.work.share)

    def _of_forward(self, seconds: float) -> StepTime:
        """Return the time of a step, of which a forward alone was timed."""
        return StepTime(seconds * (self.work.forwards + self.work.networks * FORWARDS_PER_BACKWARD), seconds, rest=0.0)

    def _take(self, time: StepTime) -> None:
        self._time = time
        if self._show:
            with suppress(OSError):  # an estimate is not worth the run
                write_record(self._path, asdict(time))

    def _tell(self, left: float) -> None:
        if self._told or self._time is None:
            return
        self._told = True
        work, time = self.work, self._time
        stages = {
            'supernet': left * (work.steps or 0) * time.whole,
            'search': work.widths * work.width * time.forward,
            'finalists': work.finalists * self._of_finalist(time),
        }
        parts = [f'{name} ~{format_duration(seconds)}' for name, seconds in stages.items() if seconds]
        if parts and self._show:
            text = f'Expected: {", ".join(parts)}.'
            _logger.info('%s', text)
            tqdm.write(text, file=sys.stderr)


def _hint(seconds: float) -> str:
    return f'expected: ~{format_duration(seconds)}' if seconds else ''


def _read(path: Path) -> StepTime | None:
    with suppress(OSError, DamagedFileError, KeyError, TypeError, ValueError):
        record = read_record(path, remedy='delete it')
        time = StepTime(**{name: float(record[name]) for name in ('whole', 'forward', 'rest')})
        return time if 0 < time.forward < float('inf') and 0 < time.whole < float('inf') else None
    return None
