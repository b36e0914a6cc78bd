"""A cache of measured times, on disk so that killed measurements resume."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from pathlib import Path

from ..errors import DamagedFileError
from ..utils import append_record, read_records

__all__ = ['TimeCache']

_EVERY = 1.0  # seconds between two lines of the file


class TimeCache:
    """Times of operators and networks, ns, in one environment.

    ``environment`` is what times depend on besides the operator: processor, threads, versions (`Clock.describe`). Of
    the JSON lines in ``path``, those of other environments are left alone; None keeps times in memory only. Raises
    ValueError if the file has other content.
    """

    def __init__(self, environment: str, path: Path | None = None) -> None:
        self.environment = environment
        self.path = path
        self._times: dict[str, list[int | None]] = defaultdict(list)
        self._unsaved: dict[str, list[int | None]] = {}
        self._saved = time.monotonic()
        if path is not None and path.exists():
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            for line in read_records(path, remedy='delete it to measure anew'):
                if line['on'] == self.environment:
                    for what, times in line['ns'].items():
                        self._times[what] += [None if each is None else int(each) for each in times]
        except DamagedFileError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f'{str(path)!r} is not a file of measured times ({error}). Delete it to measure again, or give another one.'
            ) from error

    def rounds(self, what: str) -> int:
        """Return the number of measurements; a failed one is not repeated."""
        times = self._times[what]
        return 10**9 if None in times else len(times)

    def median(self, what: str) -> int | None:
        """Return the median of its times, ns; None if it could not be measured."""
        times = [each for each in self._times[what] if each is not None]
        return None if None in self._times[what] or not times else round(statistics.median(times))

    def add(self, what: str, nanoseconds: int | None) -> None:
        """Record a time; None if it cannot be measured. It is written to disk within a second."""
        self._times[what].append(nanoseconds)
        self._unsaved.setdefault(what, []).append(nanoseconds)
        if time.monotonic() - self._saved >= _EVERY:
            self.save()

    def save(self) -> None:
        """Write pending times to the file."""
        if self.path is not None and self._unsaved:
            append_record(self.path, {'on': self.environment, 'ns': self._unsaved})
        self._unsaved, self._saved = {}, time.monotonic()
