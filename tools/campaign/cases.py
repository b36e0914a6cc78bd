"""Which faults strike which runs, and what comes of each."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .children import Ended, run_child
from .faults import Fault
from .outcome import differences, leftovers
from .stages import RUNS, phases_of

__all__ = ['Case', 'Expected', 'Verdict', 'cases_of', 'chains_of', 'strike']


@dataclass(frozen=True)
class Expected:
    """What an uninterrupted run finds, and the phase of each of its operations."""

    found: dict[str, Any]
    operations: tuple[str, ...]
    phases: tuple[str, ...]

    @classmethod
    def of(cls, name: str, work: Path, *, fresh: bool = False) -> Expected:
        """Do a run without faults; its log is left in ``work`` if it fails."""
        shutil.rmtree(work, ignore_errors=True)
        ended = run_child(name, work, fresh=fresh)
        if ended.found is None:
            raise RuntimeError(f'The run {name!r} fails without any fault (exit code {ended.code}): {work / "log.txt"}')
        operations = ended.operations
        shown = tuple(f'{each.name} {_without_chance(each.path)}' for each in operations)
        return cls(ended.found, shown, tuple(phases_of([each.path for each in operations])))


@dataclass(frozen=True)
class Case:
    """
    A run and the faults that strike it, one a process, before it is resumed a last time.

    Parameters
    ----------
    run
        One of `RUNS`.
    phase
        The part of the run in which the first fault strikes.
    faults
        The faults.
    """

    run: str
    phase: str
    faults: tuple[Fault, ...]

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f'{self.run}: ' + ', then '.join(f'{each.kind} at {each.at}' for each in self.faults)

    @property
    def kind(self) -> str:
        """The kind of its fault, or ``'chain'``."""
        return self.faults[0].kind if len(self.faults) == 1 else 'chain'


@dataclass(frozen=True)
class Verdict:
    """
    What came of a case.

    Parameters
    ----------
    key, run, phase, kind
        The case.
    same
        Whether the resumed run ended with what an uninterrupted one finds, to the bit.
    problem
        What was wrong otherwise.
    codes
        How the processes ended, the resumed one last.
    last_words
        The last line that each process but the last one printed.
    left
        Temporary files that were left in the folder.
    seconds
        How long all of it took.
    """

    key: str
    run: str
    phase: str
    kind: str
    same: bool
    problem: str
    codes: tuple[int | None, ...]
    last_words: tuple[str, ...]
    left: tuple[str, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON can hold it."""
        return asdict(self)


def cases_of(run: str, expected: Expected, kinds: Sequence[str], every: int, seed: int) -> list[Case]:
    """Return a case for each kind at every so many-th operation; kinds start at different ones."""
    cases = []
    for number, kind in enumerate(kinds):
        first = 1 + (seed + number) % every
        for at in range(first, len(expected.phases) + 1, every):
            phase = expected.phases[at - 1]
            if phase in RUNS[run].phases:
                cases.append(Case(run, phase, (Fault(kind, at, seed + at),)))
    return cases


def chains_of(run: str, expected: Expected, kinds: Sequence[str], number: int, seed: int) -> list[Case]:
    """Return cases of two to four faults of any kinds, one after the other."""
    rng = random.Random(f'{seed} {run}')
    cases = []
    for _ in range(number):
        places = [rng.randint(1, len(expected.phases)) for _ in range(rng.randint(2, 4))]
        # A resumed run has fewer operations left: later faults strike early, so that most of them take place.
        places = [places[0], *(max(1, at // 4) for at in places[1:])]
        faults = tuple(Fault(rng.choice(list(kinds)), at, rng.randrange(1000)) for at in places)
        cases.append(Case(run, expected.phases[places[0] - 1], faults))
    return cases


def strike(case: Case, expected: Expected, work: Path, *, fresh: bool = False) -> Verdict:
    """Let the faults strike a run, resume it, and compare; ``work`` keeps what it left behind."""
    shutil.rmtree(work, ignore_errors=True)
    struck, words = [], []
    for fault in case.faults:
        struck.append(run_child(case.run, work, fault, fresh=fresh))
        words.append(_last_line(work / 'log.txt'))
    last = run_child(case.run, work, fresh=fresh)
    problem = _problem(expected, struck, last) or ''
    if problem and last.found is None:
        problem += f': {_last_line(work / "log.txt")}'
    return Verdict(
        case.key,
        case.run,
        case.phase,
        case.kind,
        not problem,
        problem,
        tuple(each.code for each in (*struck, last)),
        tuple(words),
        tuple(leftovers(work / 'run')),
        round(sum(each.seconds for each in (*struck, last)), 2),
    )


def _problem(expected: Expected, struck: Sequence[Ended], last: Ended) -> str | None:
    for ended in struck:
        if ended.code is None:
            return 'a process did not end'
        different = [] if ended.found is None else differences(expected.found, ended.found)
        if different:
            return f'a process that ended well in spite of its fault found something else: {"; ".join(different[:3])}'
    if last.found is None:
        return 'the resumed run did not end' if last.code is None else f'the resumed run failed (exit code {last.code})'
    different = differences(expected.found, last.found)
    return f'the resumed run found something else: {"; ".join(different[:3])}' if different else None


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding='utf-8', errors='replace').splitlines() if log.exists() else []
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), '')


def _without_chance(path: str) -> str:
    return re.sub(r'(\.[0-9a-f]{8}\.tmp|\.\d+)$', '.*', path)
