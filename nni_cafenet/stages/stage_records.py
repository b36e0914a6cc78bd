"""What each stage of a run depends on, written down: which stages serve another question, and what is refused.

A run's ``run.json`` has one record for each stage. The supernet's says which model, data, evaluator and code it was
trained with: with any other the folder is refused. The other stages may be asked for something else, and then use all that
is there: another budget or searcher the scores, another score the supernet, more finalists what was trained. Scores
of another kind have a history of their own, so that none is lost.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import FolderError, ResumeError, first_line, truncated
from ..fingerprints import differences, digest
from ..utils import read_record, write_record

__all__ = ['FORMAT', 'changes_of', 'check_supernet', 'open_record', 'read_stages', 'stages_record']

FORMAT = 2
_MOST = 6
_STAGES = ('scores', 'search', 'finalists')

_logger = logging.getLogger(__name__)


def stages_record(
    *, supernet: Mapping[str, Any], scores: Mapping[str, Any], search: Mapping[str, Any], finalists: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the records of all stages as JSON can hold them."""
    record = {'supernet': supernet, 'scores': scores, 'search': search, 'finalists': finalists}
    plain: dict[str, Any] = json.loads(json.dumps({'format': FORMAT, **record}))
    return plain


def open_record(path: Path, wanted: Mapping[str, Any], *, make: bool = True) -> dict[str, Any]:
    """Write down what a run is asked for, or take up one that is written down.

    Parameters
    ----------
    path
        The file.
    wanted
        What `stages_record` returned.
    make
        Write it. Of several processes, only one should.

    Returns
    -------
    The record, with the names of the histories of scores (``histories``), by what the scores depend on.

    Raises
    ------
    nni_cafenet.errors.ResumeError
        If the supernet there was trained with something else; the message lists what differs.
    nni_cafenet.errors.FolderError
        If it cannot be read or written.
    """
    check_supernet(path, wanted['supernet'])
    found = read_stages(path)
    record = {**wanted, 'histories': dict((found or {}).get('histories', {}))}
    kind = digest(wanted['scores'])
    if kind not in record['histories']:
        record['histories'][kind] = f'history-{kind}.jsonl' if record['histories'] else 'history.jsonl'
    if make and record != found:
        if found is not None:
            _say_what_changes(path.parent, found, record)
        try:
            write_record(path, record)
        except OSError as error:
            raise FolderError(
                f'directory={str(path.parent)!r}: the state of the run cannot be kept there ({first_line(error)}). Give '
                'another directory, or make room in this one.'
            ) from error
    return record


def changes_of(there: Any, now: Any) -> str:
    """Return what differs between two records, by the names of options; empty where nothing does."""
    found = list(differences(there, now))
    texts = list(dict.fromkeys(_change(*each) for each in found))
    more = f'; and {len(texts) - _MOST} more' if len(texts) > _MOST else ''
    return '; '.join(texts[:_MOST]) + more


def read_stages(path: Path) -> dict[str, Any] | None:
    """Return what `open_record` wrote; None where nothing is written down."""
    if not path.exists():
        return None
    record = read_record(path, remedy='give another directory to start anew')
    if record.get('format') != FORMAT or not isinstance(record.get('supernet'), dict):
        raise ResumeError(
            f'directory={str(path.parent)!r} holds a run of another version of nni-cafenet, which this one cannot take up. '
            'Give another directory, or use the version that wrote it.'
        )
    return record


def check_supernet(path: Path, wanted: Mapping[str, Any]) -> None:
    """Refuse a run whose supernet was trained with something else; the message lists what differs."""
    found = read_stages(path)
    changes = '' if found is None else changes_of(found['supernet'], json.loads(json.dumps(wanted)))
    if changes:
        raise ResumeError(
            f'directory={str(path.parent)!r} holds another run ({changes}). Its supernet was trained with these: use '
            'them to resume it, or another directory. Another budget, search, score or metric, and more finalists, '
            'continue with the supernet that is there.'
        )


def _say_what_changes(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    changes = [changes_of(found.get(stage), wanted[stage]) for stage in _STAGES]
    if not any(changes):
        return
    text = '; '.join(filter(None, changes))
    scores = (
        'its scores' if not changes[0] else 'scores of their own: those that are there are kept, and serve their kind'
    )
    _logger.warning('The run in %s continues with another question (%s), on its supernet and %s.', folder, text, scores)


def _change(path: str, there: Any, now: Any) -> str:
    option, _, last = path.rpartition('.')
    if last == 'samples' and None not in (there, now):
        return f'{option}: other samples ({there} there, {now} now)'
    if last == 'indices' and None not in (there, now):
        return f'{option}: another part of the data; seed what draws it at random'
    if '[code ' in str(there) and '[code ' in str(now):
        same = _name(there) == _name(now)
        return f'the code of {_name(now)} differs' if same else f'{path}: {_name(there)} there, {_name(now)} now'
    return f'{path}: {_short(there)} there, {_short(now)} now'


def _name(value: Any) -> str:
    return str(value).partition(' [code ')[0]


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get('class', value.get('dataset', value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = list(value)
    return truncated(repr(value))
