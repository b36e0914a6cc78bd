"""Widths on their way to a search trial and scores on their way back: two files of lines, each with one writer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..search import Scored, widths_key
from ..utils import RecordReader, append_record

__all__ = ['FileQueue']


class FileQueue:
    """The folder through which the main process and one search trial talk.

    Parameters
    ----------
    path
        The folder; it is made if need be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._widths = RecordReader(path / 'widths.jsonl')
        self._scores = RecordReader(path / 'scores.jsonl')

    # --- the main process's side ------------------------------------------------------------------

    def put(self, widths: Mapping[str, int]) -> None:
        """Ask for the score of some widths."""
        append_record(self._widths.path, {'widths': dict(widths)})

    def close(self) -> None:
        """Tell the trial that nothing more will come."""
        append_record(self._widths.path, {'end': True})

    def take_scores(self) -> list[Scored]:
        """Return the scores that have come since the last call."""
        return [Scored.from_json(record) for record in self._scores.read()]

    # --- the trial's side -------------------------------------------------------------------------

    def tasks(self, wait: Callable[[], None] = lambda: time.sleep(0.05)) -> Iterator[dict[str, int]]:
        """Yield widths as they come, until the queue is closed; what has a score already is passed over."""
        done = {widths_key(scored.widths) for scored in self.take_scores()}
        while True:
            for record in self._widths.read():
                if record.get('end'):
                    return
                if widths_key(record['widths']) not in done:
                    yield record['widths']
            wait()

    def reply(self, scored: Scored) -> None:
        """Send a score; it is on disk when this returns."""
        append_record(self._scores.path, scored.to_json())
