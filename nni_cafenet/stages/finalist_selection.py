"""Selected finalists on disk, and the folder of each training; identical trainings share one."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..fingerprints import digest
from ..utils import read_record, write_record
from .finalists import Finalist
from .folder import RunFolder

__all__ = ['Choice', 'read_choice', 'with_folders', 'write_choice', 'write_trainings']

_RECORD = 'training.json'

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """The selected finalists, and the short trainings that selected them."""

    finalists: list[Finalist]
    short: list[Finalist]


def read_choice(folder: RunFolder) -> Choice | None:
    """Return the finalists selected under the current options; None if there are none yet."""
    if not folder.finalists.exists():
        return None
    record = read_record(folder.finalists, remedy='delete it to choose the finalists again')
    if record['question'] != _question(folder):
        return None
    return Choice(*([Finalist.from_json(each) for each in record[kind]] for kind in ('finalists', 'short')))


def write_choice(folder: RunFolder, finalists: Sequence[Finalist], short: Sequence[Finalist]) -> None:
    """Write the selected finalists and the short trainings that selected them."""
    chosen = {'finalists': finalists, 'short': short}
    lists = {kind: [each.to_json() for each in some] for kind, some in chosen.items()}
    write_record(folder.finalists, {'question': _question(folder), **lists})


def write_trainings(root: Path, trainings: Mapping[str, Any]) -> None:
    """Write the fingerprint of each training to its folder; see `with_folders`."""
    for folder, training in trainings.items():
        path = root / folder / _RECORD
        if not path.exists():
            write_record(path, training)


def with_folders(
    finalists: Sequence[Finalist], training: Mapping[str, Any], root: Path, *, inherited: bool
) -> tuple[list[Finalist], dict[str, Any]]:
    """Assign each finalist a folder: an existing one with the same fingerprint, or a new one.

    Returns the finalists, and the fingerprint of each folder. ``training`` is the part that all fingerprints share.
    With ``inherited`` weights, channel sets belong to the fingerprint.
    """
    known = {_identity(each): name for name, each in _begun(root).items()}
    taken = set(_begun(root)) | {path.name for path in root.glob('*') if (path / 'result.json').exists()}
    first, found, trainings = dict[str, str](), list[Finalist](), dict[str, Any]()
    for each in finalists:
        sets = {'channel_sets': each.scored.channel_sets} if inherited else {}
        record = json.loads(json.dumps({**training, 'widths': each.scored.widths, **sets}))
        identity = _identity(record)
        folder = known.setdefault(identity, _free(each.name, taken))
        taken.add(folder)
        trainings[folder] = record
        same = first.setdefault(folder, each.name)
        found.append(dataclasses.replace(each, folder=folder, same_as=None if same == each.name else same))
        if same != each.name:
            _logger.info('%s: same network, trained once.', found[-1].title)
    return found, trainings


def _question(folder: RunFolder) -> str:
    return digest({stage: folder.record.get(stage) for stage in ('scores', 'search', 'finalists')})


def _begun(root: Path) -> dict[str, Any]:
    paths = sorted(root.glob(f'*/{_RECORD}'))
    return {
        path.parent.name: read_record(path, remedy='delete its folder to train that network again') for path in paths
    }


def _free(name: str, taken: set[str]) -> str:
    folder, number = name, 2
    while folder in taken:
        folder, number = f'{name}-{number}', number + 1
    return folder


def _identity(training: Any) -> str:
    return digest(training)
