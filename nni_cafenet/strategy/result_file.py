"""The result of a run on disk: ``result.json`` in its folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import FolderError
from ..latency import LatencyTable
from ..search import Budget, History
from ..space import WidthSpace
from ..stages import Finalist, Metric, RunFolder, read_result
from ..utils import check_instance, read_record, write_record

__all__ = ['read_fields', 'remove_result', 'write_result']

_FILE = 'result.json'
_FORMAT = 1
_PLAIN = ('budget_names', 'score', 'seed', 'proposals', 'drawn', 'uniform_first')
"""Fields of a result that are plain values."""


def write_result(result: Any, history: Path) -> None:
    """Write a `RunResult` into the folder of its run; ``history`` is the file of the scored widths."""
    write_record(
        result.directory / _FILE,
        {
            'format': _FORMAT,
            'kind': result.kind,
            'history': history.name,
            'higher_is_better': result.history.higher_is_better,
            'limits': [dict(budget.limits) for budget in result.budgets],
            'metrics': [dataclasses.asdict(each) for each in (result.metric, result.short_metric)],
            'trained': [each.finalist.to_json() for each in result.trained],
            'short': [each.to_json() for each in result.short],
            **{name: getattr(result, name) for name in _PLAIN},
        },
    )


def remove_result(directory: Path) -> None:
    """Remove the result of an earlier question from the folder of a run."""
    (directory / _FILE).unlink(missing_ok=True)


def read_fields(directory: Path, space: WidthSpace, kinds: Collection[str]) -> tuple[str, dict[str, Any]]:
    """Return the kind of a result and its fields, from the folder of a finished run of the same space."""
    check_instance('space', space, WidthSpace, 'WidthMutator().mutate(model, example_input=...)')
    folder = RunFolder(directory)
    if not (folder.path / _FILE).exists():
        raise FolderError(
            f'directory={str(directory)!r} holds no finished run. Start its run again with this directory.'
        )
    record = read_record(folder.path / _FILE, remedy='start the run again with this directory')
    if record.get('format') != _FORMAT or record.get('kind') not in kinds:
        raise FolderError(f'directory={str(directory)!r} holds a run of another version of nni-cafenet. Use that one.')
    folder.check_space(space)
    metric, short_metric = (Metric(**each) for each in record['metrics'])
    finalists = [Finalist.from_json(each) for each in record['trained']]
    results = [read_result(each, folder.training(each.folder, each.epochs), metric) for each in finalists]
    fields = {
        'space': space,
        'directory': folder.path,
        'budgets': [_budget(limits, space, folder.path) for limits in record['limits']],
        'metric': metric,
        'short_metric': short_metric,
        'history': History(folder.path / record['history'], higher_is_better=record['higher_is_better']),
        'short': [Finalist.from_json(each) for each in record['short']],
        'trained': [each for each in results if each is not None],
    }
    return record['kind'], {**fields, **{name: record[name] for name in _PLAIN}}


def _budget(limits: Mapping[str, Any], space: WidthSpace, folder: Path) -> Budget:
    table = LatencyTable.load(folder / 'latency.json') if 'latency' in limits else None
    return Budget(dict(limits), space, table)
