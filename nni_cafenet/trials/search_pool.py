"""A pool of long-lived trials that score widths in parallel, with the results of a sequential search."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..search import Scored, WidthsKey, widths_key
from ..stages import RunFolder
from .file_queue import FileQueue
from .job import Job
from .runner import TrialRunner

__all__ = ['SearchPool']


@dataclass
class _Worker:
    job: Job
    queue: FileQueue
    given: dict[WidthsKey, None] = field(default_factory=dict)  # ordered
    closing: bool = False

    def close(self) -> None:
        if not self.closing:
            self.queue.close()
            self.closing = True


class SearchPool:
    """Search trials, up to the experiment's concurrency, and their scores; ``reserved`` trials are left for later stages.

    Scores that are in the folder of the run are not requested again. ``details`` are those of a search trial in the web
    UI.
    """

    def __init__(self, runner: TrialRunner, folder: RunFolder, details: Mapping[str, Any], *, reserved: int) -> None:
        self.runner = runner
        self.folder = folder
        self.details = dict(details)
        self.reserved = reserved
        self._workers: list[_Worker] = []
        self._known: dict[WidthsKey, Scored] = {}
        self._deaths: Counter[WidthsKey] = Counter()
        self._number = 0
        for path in sorted(folder.search.glob('*')):
            self._number = max(self._number, int(path.name))
            self._keep(FileQueue(path).take_scores())

    def score(self, batch: Sequence[Mapping[str, int]]) -> Iterator[Scored]:
        """Score a batch of widths; yield results in order, as soon as they are known.

        Raises `TrialFailedError` if two search trials fail on the same widths, and `LimitReachedError` if a limit of
        the experiment prevents search trials.
        """
        wanted = {widths_key(widths): dict(widths) for widths in batch}
        pending = deque(key for key in wanted if key not in self._known)
        for widths in batch:
            while widths_key(widths) not in self._known:
                self.runner.poll()
                self._take()
                self._requeue_dead(pending)
                self._scale(len(pending) + sum(len(worker.given) for worker in self._workers))
                self._give(pending, wanted)
                time.sleep(0.02)
            yield self._known[widths_key(widths)]

    def close(self, *, wait: bool = True) -> None:
        """End all search trials; with `wait`, block until they have ended."""
        for worker in self._workers:
            worker.close()
        self.runner.release('search')
        while wait and any(worker.job.active for worker in self._workers):
            self.runner.poll()
            time.sleep(0.1)

    def _keep(self, scores: Sequence[Scored]) -> None:
        self._known.update((widths_key(scored.widths), scored) for scored in scores)

    def _take(self) -> None:
        for worker in self._workers:
            scores = worker.queue.take_scores()
            self._keep(scores)
            for scored in scores:
                worker.given.pop(widths_key(scored.widths), None)

    def _requeue_dead(self, pending: deque[WidthsKey]) -> None:
        """Requeue the widths of dead trials."""
        for worker in [worker for worker in self._workers if not worker.job.active]:
            self._workers.remove(worker)
            given = [key for key in worker.given if key not in self._known]
            pending.extendleft(reversed(given))
            if worker.job.succeeded and not given:
                continue
            self._deaths.update(given[:1])
            if given and self._deaths[given[0]] >= 2:
                raise self.runner.error(worker.job)
            self.runner.failed_for_good(worker.job)

    def _scale(self, work: int) -> None:
        """Start search trials up to the concurrency and the amount of work; end one if the concurrency was lowered."""
        runner, working = self.runner, [worker for worker in self._workers if not worker.closing]
        if not runner.is_open or (not self._workers and not runner.may_start('search')):
            raise runner.limit_reached()
        room = max(runner.trials_left - self.reserved, 0 if working else 1) + runner.started_again().count('search')
        for _ in range(int(min(runner.concurrency - len(self._workers), work - len(working), room))):
            self._number += 1
            name = f'{self._number:03d}'
            job = Job(f'search {self._number}', {'stage': 'search', 'queue': name}, {'stage': 'search'}, self.details)
            self._workers.append(_Worker(job, FileQueue(self.folder.search / name)))
            runner.submit(job)
        if len(self._workers) >= runner.concurrency:
            runner.release('search')  # restarted trials that are not needed
        if len(working) > max(1, runner.concurrency):
            working[-1].close()

    def _give(self, pending: deque[WidthsKey], wanted: Mapping[WidthsKey, dict[str, int]]) -> None:
        """Give each trial one width, and a second in advance while enough are pending."""
        most = 2 if len(pending) > len(self._workers) else 1
        for worker in sorted(self._workers, key=lambda worker: len(worker.given)):
            while pending and len(worker.given) < most and not worker.closing:
                key = pending.popleft()
                if key not in self._known:
                    worker.given[key] = None
                    worker.queue.put(wanted[key])
