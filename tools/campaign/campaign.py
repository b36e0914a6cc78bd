"""A campaign: its cases in an order in which any beginning of it is a fair sample, its results and its tables."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nni_cafenet.utils.files import append_line, read_jsonl, write_json, write_text
from nni_cafenet.utils.tables import as_markdown

from .cases import Case, Expected, Verdict, cases_of, chains_of, strike
from .stages import RUNS

__all__ = ['Campaign', 'tables']


class Campaign:
    """
    All cases that some options ask for.

    Parameters
    ----------
    options
        What `options.parsed` returns.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.output: Path = options.output.absolute()
        self.results = self.output / 'results.jsonl'
        self.records: list[dict[str, Any]] = read_jsonl(self.results) if self.results.exists() else []

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The records of cases that did not end the same."""
        return [record for record in self.records if not record['same']]

    def run(self) -> None:
        """Do the cases that have no result yet; print each, and write the tables."""
        end = None if self.options.minutes is None else time.monotonic() + 60 * self.options.minutes
        expected = {name: self._expected(name) for name in self.options.run}
        cases = self._cases(expected)
        done = {record['key'] for record in self.records}
        left = [case for case in cases if case.key not in done]
        print(f'{len(cases)} cases, {len(cases) - len(left)} of them done before', flush=True)
        for number, case in enumerate(left, start=1):
            if end is not None and time.monotonic() > end:
                print(f'{self.options.minutes:g} minutes are over; {len(left) - number + 1} cases are left.')
                break
            self._keep(
                strike(case, expected[case.run], self._work(case.run), fresh=bool(self.options.fresh)),
                number,
                len(left),
            )
            self._write(len(cases))
        self._write(len(cases))

    def _expected(self, name: str) -> Expected:
        """Do a run without faults: in a fork of this process and in a fresh one, which must agree."""
        kinds = {None: (False, True), True: (True,), False: (False,)}[self.options.fresh]
        found = [Expected.of(name, self._work(name), fresh=fresh) for fresh in kinds]
        if found[0] != found[-1]:
            raise RuntimeError(f'The run {name!r} finds something else in a forked process than in a fresh one.')
        phases = ', '.join(f'{phase} {number}' for phase, number in Counter(found[0].phases).items())
        print(f'{name}: {len(found[0].operations)} file operations ({phases})', flush=True)
        return found[0]

    def _cases(self, expected: Mapping[str, Expected]) -> list[Case]:
        asked = self.options
        cases = list[Case]()
        for name, known in expected.items():
            cases += cases_of(name, known, asked.kind, asked.every, asked.seed)
            cases += chains_of(name, known, asked.kind, asked.chains, asked.seed)
        if asked.phase is not None:
            cases = [case for case in cases if case.phase in asked.phase]
        random.Random(asked.seed).shuffle(cases)
        return cases

    def _work(self, name: str) -> Path:
        # The same for all cases: the path of a run may be in its files.
        return self.output / 'work' / name

    def _keep(self, verdict: Verdict, number: int, of: int) -> None:
        self.records.append(verdict.to_json())
        append_line(self.results, json.dumps(verdict.to_json()))
        print(f'[{number}/{of}] {verdict.key} ({verdict.phase}): {verdict.problem or "same"}', flush=True)
        if not verdict.same:  # for a look at it
            kept = self.output / 'failures' / verdict.key.replace(': ', '-').replace(' ', '_').replace(',', '')
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(self._work(verdict.run), kept, symlinks=True)

    def _write(self, cases: int) -> None:
        asked = {key: value for key, value in vars(self.options).items() if key != 'output'}
        facts = {
            'options': asked,
            'cases': cases,
            'done': len(self.records),
            'same': len(self.records) - len(self.failures),
        }
        write_json(self.output / 'campaign.json', {**facts, 'records': self.records})
        write_text(self.output / 'campaign.md', f'{tables(self.records)}\n')


def tables(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the tables of a campaign as Markdown: cases a stage and a kind, and how many ended the same."""
    kinds = list(dict.fromkeys(record['kind'] for record in sorted(records, key=lambda each: each['kind'] == 'chain')))
    places = sorted({(record['run'], record['phase']) for record in records}, key=_place)
    rows = [
        [run, phase, *(_share(records, run, phase, kind) for kind in kinds), _share(records, run, phase, None)]
        for run, phase in places
    ]
    rows.append(['all', '', *(_share(records, None, None, kind) for kind in kinds), _share(records, None, None, None)])
    text = as_markdown(['run', 'struck in', *kinds, 'all'], rows)
    wrong = [f'- {record["key"]} ({record["phase"]}): {record["problem"]}' for record in records if not record['same']]
    return '\n'.join(
        [text, '', *(['Not the same:', '', *wrong] if wrong else ['All of them ended the same, to the bit.'])]
    )


def _place(place: tuple[str, str]) -> tuple[int, int]:
    run, phase = place
    phases = RUNS[run].phases
    return list(RUNS).index(run), phases.index(phase) if phase in phases else len(phases)


def _share(records: Iterable[Mapping[str, Any]], run: str | None, phase: str | None, kind: str | None) -> str:
    wanted = {'run': run, 'phase': phase, 'kind': kind}
    chosen = [each for each in records if all(each[key] == value for key, value in wanted.items() if value is not None)]
    return f'{sum(each["same"] for each in chosen)} of {len(chosen)}' if chosen else ''
