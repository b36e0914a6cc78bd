"""The history of scored widths, appended to disk."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..utils import append_record, check_not_removed, read_records, write_json, write_text

__all__ = ['History', 'Scored', 'WidthsKey', 'better_when_higher', 'widths_key']

WidthsKey = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Scored:
    """A width and its score.

    Attributes
    ----------
    score
        NaN if scoring failed.
    channel_sets
        The best channel sets that were scored, ``{label: channel indices}``.
    scores
        The scores of all channel sets, the leftmost channels first.
    epochs
        Epochs of the short training that gave the score; 0: the supernet's.
    temperature, by_temperature
        Divisor of the logits of the best channel sets, and the scores at fixed temperatures; empty if temperature does not
        apply.
    parts
        Scores on up to 8 parts of the held-out data, to estimate noise; empty if the score is not a mean over batches.
    shown
        A metric for display beside the score, ``{name: value}``; not kept in the history of a run.
    """

    widths: dict[str, int]
    macs: int
    params: int
    score: float
    channel_sets: dict[str, list[int]]
    scores: tuple[float, ...] = ()
    epochs: int = 0
    temperature: float = 1.0
    by_temperature: dict[float, float] = field(default_factory=dict)
    parts: tuple[float, ...] = ()
    shown: dict[str, float] = field(default_factory=dict, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values (NaN becomes null)."""
        return {
            'score': _null(self.score),
            'macs': self.macs,
            'params': self.params,
            'widths': self.widths,
            'scores': [_null(score) for score in self.scores],
            'temperature': _null(self.temperature),
            'by_temperature': {repr(key): _null(score) for key, score in self.by_temperature.items()},
            'parts': [_null(score) for score in self.parts],
            'channel_sets': self.channel_sets,
            **({'epochs': self.epochs} if self.epochs else {}),
            **({'shown': self.shown} if self.shown else {}),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Scored:
        """Read what `to_json` wrote."""
        return cls(
            widths=dict(record['widths']),
            macs=int(record['macs']),
            params=int(record['params']),
            score=_number(record['score']),
            channel_sets=record['channel_sets'],
            scores=tuple(map(_number, record['scores'])),
            temperature=_number(record['temperature']),
            epochs=int(record.get('epochs', 0)),
            by_temperature={float(key): _number(score) for key, score in record['by_temperature'].items()},
            parts=tuple(map(_number, record['parts'])),
            shown=dict(record.get('shown', {})),
        )


class History:
    """The scored widths of a run, in the order in which they were scored.

    ``path`` is a file of JSON lines with checksums, whose records are read; None keeps them in memory only.
    """

    def __init__(self, path: Path | None = None, *, higher_is_better: bool) -> None:
        self.path = path
        self.higher_is_better = higher_is_better
        self._records: dict[WidthsKey, Scored] = {}
        self._leader: Scored | None = None
        if path is not None and path.exists():
            for record in read_records(path, remedy='delete that line, so that its widths are scored again'):
                self._keep(Scored.from_json(record))

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Scored]:
        return iter(self._records.values())

    def add(self, scored: Scored) -> None:
        """Add a record; it is on disk when this returns. FolderError if the file was removed."""
        if self.path is not None:
            if self._records:
                check_not_removed(self.path)
            append_record(self.path, scored.to_json())
        self._keep(scored)

    def __contains__(self, widths: Mapping[str, int]) -> bool:
        return widths_key(widths) in self._records

    def __getitem__(self, widths: Mapping[str, int]) -> Scored:
        return self._records[widths_key(widths)]

    def fitness(self, scored: Scored) -> float:
        """Return the score with its sign set so that higher is better."""
        return scored.score if self.higher_is_better else -scored.score

    @property
    def temperatures(self) -> list[float]:
        """The temperatures of the scores: one if it was given, many if it was fitted to each width."""
        return sorted({record.temperature for record in self if math.isfinite(record.temperature)})

    @property
    def leader(self) -> Scored | None:
        """The best record (see `best`), kept up to date by `add`; None if none has a score."""
        return self._leader

    def best(self, number: int | None = None, *, among: Callable[[Scored], bool] | None = None) -> list[Scored]:
        """Return the best records, best first, of all or ``among`` some; failed ones are left out."""
        good = [record for record in self if math.isfinite(record.score) and (among is None or among(record))]
        return sorted(good, key=self._rank)[:number]

    def export(self, folder: Path, labels: Sequence[str]) -> None:
        """Write ``history.json`` and ``history.csv`` (one row per width, one column per group) into a folder."""
        write_json(folder / 'history.json', [record.to_json() for record in self])
        text = io.StringIO()
        writer = csv.writer(text)
        trained = any(record.epochs for record in self)
        temperatures = sorted({each for record in self for each in record.by_temperature})
        others = [f'score at T={temperature:g}' for temperature in temperatures]
        writer.writerow(
            [
                'score',
                'temperature',
                *others,
                *(['epochs'] if trained else []),
                'macs',
                'params',
                *labels,
                'channel_sets',
            ]
        )
        for record in self:
            scores = [record.by_temperature.get(temperature, '') for temperature in temperatures]
            sets = json.dumps(record.channel_sets, separators=(',', ':'))
            widths = [record.widths[label] for label in labels]
            epochs = [record.epochs] if trained else []
            writer.writerow(
                [record.score, f'{record.temperature:.4g}', *scores, *epochs, record.macs, record.params, *widths, sets]
            )
        write_text(folder / 'history.csv', text.getvalue())

    def _rank(self, record: Scored) -> tuple[int, float, int]:
        """Rank records: longer trainings first, since these won their rungs; then by score, then by cost."""
        return -record.epochs, -self.fitness(record), record.macs

    def _keep(self, scored: Scored) -> None:
        key = widths_key(scored.widths)
        again = key in self._records
        self._records[key] = scored
        if again:
            self._leader = next(iter(self.best(1)), None)
        elif math.isfinite(scored.score) and (self._leader is None or self._rank(scored) < self._rank(self._leader)):
            self._leader = scored


def widths_key(widths: Mapping[str, int]) -> WidthsKey:
    """Return widths as a key of a dictionary."""
    return tuple(sorted(widths.items()))


def _number(score: float | None) -> float:
    return math.nan if score is None else float(score)


def _null(score: float) -> float | None:
    return None if math.isnan(score) else score


def better_when_higher(score: str) -> bool:
    """Infer the direction of a metric from its name."""
    return not any(word in score.lower() for word in ('loss', 'error', 'err', 'mse', 'mae', 'perplexity'))
