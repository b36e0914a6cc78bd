"""Whether a run may continue in its folder, and which stages it reuses: fingerprints in ``run.json``.

The supernet's record covers model, data, evaluator and code; a run with any other is refused. The later stages may change
and reuse what exists: another budget or searcher reuses the scores, another score the supernet, more finalists the trained
ones. Each scoring configuration has its own history, so no score is lost. `strategy/staged_strategy.py` then repeats the
stages in order, and each continues from its own files.
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
    *,
    supernet: Mapping[str, Any],
    scores: Mapping[str, Any],
    search: Mapping[str, Any],
    finalists: Mapping[str, Any],
    weights: str = '',
    sizes: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return the fingerprints of all stages, JSON-serializable.

    ``weights`` is the digest of those that the supernet starts from. They may differ from start to start, since scripts
    draw them at random; a run continues with those of its first start, and says so. ``sizes`` are those that the user
    left open, for later starts to keep.
    """
    record = {'supernet': supernet, 'scores': scores, 'search': search, 'finalists': finalists, 'weights': weights}
    plain: dict[str, Any] = json.loads(json.dumps({'format': FORMAT, **record, 'sizes': sizes or {}}))
    return plain


def open_record(path: Path, wanted: Mapping[str, Any], *, make: bool = True, begun: bool = False) -> dict[str, Any]:
    """Write ``run.json``, or check that a run can continue from it, and return the record.

    ``wanted`` comes from `stages_record`; ``histories`` of the result are file names by scoring fingerprint. A supernet
    that was trained differently raises `ResumeError` with a list of the differences. Once its training has ``begun``,
    the weights stay those of the record.
    """
    check_supernet(path, wanted['supernet'])
    found = read_stages(path)
    record = {**wanted, 'histories': dict((found or {}).get('histories', {}))}
    kind = digest(wanted['scores'])
    if kind not in record['histories']:
        record['histories'][kind] = f'history-{kind}.jsonl' if record['histories'] else 'history.jsonl'
    if found is not None and begun:
        record['weights'] = found.get('weights')
        if make and wanted.get('weights') != record['weights']:
            _logger.warning(
                "The model's weights are not those that the run in %s began with. It continues with its own; to start "
                'from these weights, give another directory.',
                path.parent,
            )
    if make and record != found:
        if found is not None:
            _say_what_changes(path.parent, found, record)
        try:
            write_record(path, record)
        except OSError as error:
            raise FolderError(
                f'directory={str(path.parent)!r}: cannot write the state of the run ({first_line(error)}). Give '
                'another directory, or free disk space.'
            ) from error
    return record


def changes_of(there: Any, now: Any) -> str:
    """Describe the differences between two records by option; empty if they agree."""
    found = list(differences(there, now))
    texts = list(dict.fromkeys(_change(*each) for each in found))
    more = f'; and {len(texts) - _MOST} more' if len(texts) > _MOST else ''
    return '; '.join(texts[:_MOST]) + more


def read_stages(path: Path) -> dict[str, Any] | None:
    """Read ``run.json``; None if it does not exist."""
    if not path.exists():
        return None
    record = read_record(path, remedy='give another directory to start anew')
    if record.get('format') != FORMAT or not isinstance(record.get('supernet'), dict):
        raise ResumeError(
            f'directory={str(path.parent)!r} holds a run of another version of nni-cafenet, which this one cannot resume. '
            'Give another directory, or use the version that wrote it.'
        )
    return record


def check_supernet(path: Path, wanted: Mapping[str, Any]) -> None:
    """Raise `ResumeError` if the supernet was trained differently."""
    found = read_stages(path)
    changes = '' if found is None else changes_of(found['supernet'], json.loads(json.dumps(wanted)))
    if changes:
        raise ResumeError(
            f'directory={str(path.parent)!r} holds another run ({changes}). Resume it with the settings that trained its '
            'supernet, or give another directory. Only the budget, search, score, metric and finalists may change.'
        )


def _say_what_changes(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    changes = [changes_of(found.get(stage), wanted[stage]) for stage in _STAGES]
    if not any(changes):
        return
    text = '; '.join(filter(None, changes))
    scores = 'its scores' if not changes[0] else 'new scores; the existing ones are kept in a history of their own'
    _logger.warning('The run in %s continues with changed options (%s), its supernet and %s.', folder, text, scores)


def _change(path: str, there: Any, now: Any) -> str:
    option, _, last = path.rpartition('.')
    if last == 'samples' and None not in (there, now):
        return f'{option}: the samples differ ({there} there, {now} now)'
    if last == 'indices' and None not in (there, now):
        return f'{option}: another subset of the data; seed its random split'
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
