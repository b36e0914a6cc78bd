"""A queue of two JSON-lines files, each with one writer: widths to a search trial, scores back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..search import Scored, widths_key
from ..utils import RecordReader, append_record

__all__ = ['FileQueue']


class FileQueue:
    """A file queue between the main process and one search trial, in a folder of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._widths = RecordReader(path / 'widths.jsonl')
        self._scores = RecordReader(path / 'scores.jsonl')

    # --- main process -----------------------------------------------------------------------------

    def put(self, widths: Mapping[str, int]) -> None:
        """Request the score of widths."""
        append_record(self._widths.path, {'widths': dict(widths)})

    def close(self) -> None:
        """End the queue; the trial stops."""
        append_record(self._widths.path, {'end': True})

    def take_scores(self) -> list[Scored]:
        """Return the scores received since the last call."""
        return [Scored.from_json(record) for record in self._scores.read()]

    # --- trial ------------------------------------------------------------------------------------

    def tasks(self, wait: Callable[[], None] = lambda: time.sleep(0.05)) -> Iterator[dict[str, int]]:
        """Yield requested widths that have no score yet, until the queue is closed."""
        done = {widths_key(scored.widths) for scored in self.take_scores()}
        while True:
            for record in self._widths.read():
                if record.get('end'):
                    return
                if widths_key(record['widths']) not in done:
                    yield record['widths']
            wait()

    def reply(self, scored: Scored) -> None:
        """Write a score to disk."""
        append_record(self._scores.path, scored.to_json())
