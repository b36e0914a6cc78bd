"""Small runs: what is in their folders at the end, uninterrupted, and killed in each stage and resumed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from campaign.cases import Case, Expected, strike
from campaign.faults import Fault

from .hashing import file_fields
from .internals import small_quickstart

__all__ = ['RUN_ITEMS', 'run']

_STAGES = ('supernet', 'search', 'finalists')
_KILLED = {f'{name} killed in {stage}': (name, stage) for name in ('search', 'pruning') for stage in _STAGES}
_WHOLE = ('search', 'family', 'pruning', 'latency', 'export', 'command')
_NOT_KEPT = ('nni/', 'lightning_logs/')  # NNI's own folder has a name drawn at random

RUN_ITEMS = (*_WHOLE, 'quickstart', *_KILLED)


def run(item: str, work: Path) -> dict[str, Any]:
    """Do a run in an empty folder; return what it returns and the fields of the files in its folder."""
    _use_one_key(work)
    if item == 'quickstart':
        small_quickstart(work / 'run')
        fields = file_fields(work / 'run')
        return {
            name: value for name, value in fields.items() if name.split(': ')[1].split('/')[0] + '/' not in _NOT_KEPT
        }
    name, stage = _KILLED.get(item, (item, None))
    folder = work / name
    expected = Expected.of(name, folder)
    fields = {}
    if stage is not None:
        operations = [at for at, phase in enumerate(expected.phases, start=1) if phase == stage]
        case = Case(name, stage, (Fault('kill', operations[len(operations) // 2]),))
        verdict = strike(case, expected, folder)
        fields['like an uninterrupted run'] = [verdict.same, verdict.problem]
    returned = json.loads((folder / 'result.json').read_text())['found']['returned']
    return {**fields, **{f'returned: {key}': value for key, value in returned.items()}, **file_fields(folder / 'run')}


def _use_one_key(work: Path) -> None:
    """Sign by the same key at every time: signatures are among the bytes of files."""
    key = work / 'key'
    key.write_text(bytes(range(32)).hex())
    key.chmod(0o600)
    os.environ['NNI_CAFENET_KEY'] = str(key)
