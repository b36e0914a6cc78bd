"""Paths and state files in the folder of a run."""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import FolderError, ResumeError, first_line
from ..fingerprints import digest
from ..supernet import read_checkpoint
from ..utils import check_not_truncated, child_path, read_record, write_record
from .folder_lock import locked_folder
from .resume_check import changes_of, open_record, read_stages

__all__ = ['JOB_RECORD', 'RunFolder', 'check_checkpoint', 'keep_settings', 'new_run_path']

_REMEDY = 'give another directory to start anew'

JOB_RECORD = 'job.json'
"""The configuration of a command; written before the files of the run."""


def new_run_path(root: str | os.PathLike[str]) -> Path:
    """Return a new path below `root`, without creating it."""
    return Path(root) / 'cafenet' / f'{time.strftime("%Y%m%d-%H%M%S")}-{uuid.uuid4().hex[:6]}'


class RunFolder:
    """The folder that holds the whole state of a run.

    Of several processes, only one should ``make`` it. A folder whose fingerprints differ from ``record`` raises
    `ResumeError` with a list of the differences.
    """

    def __init__(self, path: Path, record: Mapping[str, Any] | None = None, *, make: bool = True) -> None:
        self.path = path
        self._make = make
        self.record: dict[str, Any] = {}
        if record is not None:
            self.record = open_record(path / 'run.json', record, make=make, begun=self.checkpoint.exists())

    def for_reading(self) -> RunFolder:
        """Return the folder as the other processes of the run see it: they do not write to it."""
        found = RunFolder(self.path, make=False)
        found.record = self.record
        return found

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Lock the folder for a block; see `locked_folder`."""
        return locked_folder(self.path) if self._make else contextlib.nullcontext()

    @property
    def checkpoint(self) -> Path:
        """The supernet's Lightning checkpoint, written after every epoch."""
        return self.path / 'supernet.ckpt'

    @property
    def history(self) -> Path:
        """Scored widths as JSON lines; each scoring configuration has its own file."""
        names = self.record.get('histories', {})
        return self.path / names.get(digest(self.record.get('scores')), 'history.jsonl')

    @property
    def initial(self) -> Path:
        """The initial weights of the supernet and the RNG states at the start of training."""
        return self.path / 'initial.pt'

    @property
    def setup(self) -> Path:
        """The serialized `StageContext` for trials."""
        return self.path / 'setup.json'

    def read_setup(self) -> str:
        """Return the serialized `StageContext`; it runs code when loaded, so its signature is checked."""
        return json.dumps(read_record(self.setup, remedy=_REMEDY, signed_for='setup')['setup'])

    def write_setup(self, text: str) -> None:
        """Write the serialized `StageContext`, signed with the user's key."""
        write_record(self.setup, {'setup': json.loads(text)}, signed_for='setup')

    @property
    def search(self) -> Path:
        """The file queues of search trials."""
        return child_path(self.path, 'search')

    def check_space(self, space: Any) -> None:
        """Raise `ResumeError` if a space differs from that of the run."""
        there = (read_stages(self.path / 'run.json') or {'supernet': {}})['supernet']
        here = {'macs': space.macs(space.full_widths), 'choices': {k: list(v) for k, v in space.choices.items()}}
        changes = changes_of({key: there.get(key) for key in here}, here)
        if changes:
            raise ResumeError(
                f'The model differs from that of the run in {self.path} ({changes}). Use the same code and package '
                'versions on all machines.'
            )

    @property
    def curves(self) -> Path:
        """Metrics logged during supernet training, as JSON lines, one per epoch; see `read_curves`."""
        return self.path / 'curves.jsonl'

    @property
    def speed(self) -> Path:
        """The seconds of a forward, for estimates of time; see `TimeLeft`."""
        return self.path / 'speed.json'

    @property
    def uniform_loss(self) -> Path:
        """Held-out loss of the uniform network during supernet training, as JSON lines."""
        return self.path / 'uniform_loss.jsonl'

    @property
    def finalists(self) -> Path:
        """The selected finalists."""
        return self.path / 'finalists.json'

    @property
    def searched(self) -> bool:
        """Whether the configured search is complete."""
        return self._done('searched.json') == self._search_asked

    def mark_searched(self) -> None:
        """Record that the search is complete."""
        write_record(self.path / 'searched.json', self._search_asked)

    @property
    def _search_asked(self) -> dict[str, str]:
        return {stage: digest(self.record.get(stage)) for stage in ('scores', 'search')}

    def _done(self, name: str) -> Any:
        path = self.path / name
        return read_record(path, remedy='delete it to search again') if path.exists() else None

    def finalist(self, name: str) -> Path:
        """Return the folder of a finalist."""
        return child_path(self.path, 'finalists', name)

    def training(self, name: str, epochs: int | None = None) -> Path:
        """Return the folder of a finalist, or of its short training of `epochs` epochs."""
        return (
            self.finalist(name)
            if epochs is None
            else child_path(self.path, 'short_trainings', f'{epochs}_epochs', name)
        )

    def root_of(self, epochs: int | None = None) -> Path:
        """Return the folder of all finalists, or of all short trainings of `epochs` epochs."""
        return self.path / 'finalists' if epochs is None else self.path / 'short_trainings' / f'{epochs}_epochs'

    @property
    def trainings(self) -> list[Path]:
        """The folders of all full and short trainings that have started."""
        return [*self.path.glob('finalists/*'), *self.path.glob('short_trainings/*/*')]

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the supernet's checkpoint, or None before the first epoch ends."""
        if not self.checkpoint.exists():
            return None
        return read_checkpoint(self.checkpoint)

    @property
    def trained(self) -> bool:
        """Whether supernet training is complete."""
        return (self.path / 'supernet.json').exists()

    def mark_trained(self, **facts: Any) -> None:
        """Record that supernet training is complete."""
        write_record(self.path / 'supernet.json', facts)


def keep_settings(record: Path, settings: Mapping[str, Any], *, make: bool = True) -> None:
    """Write the settings of a run; raise `ResumeError`, with a list of differences, if the file holds other ones."""
    wanted = json.loads(json.dumps(settings))
    if record.exists():
        found = read_record(record, remedy=_REMEDY)
        changes = changes_of(found, wanted)
        if changes:
            raise ResumeError(
                f'directory={str(record.parent)!r} holds another run ({changes}). Resume it with its own settings, or '
                'give another directory.'
            )
    elif make:
        try:
            write_record(record, wanted)
        except OSError as error:
            raise FolderError(
                f'directory={str(record.parent)!r}: cannot write the state of the run ({first_line(error)}). Give '
                'another directory, or free disk space.'
            ) from error


def check_checkpoint(path: Path) -> None:
    """Raise `DamagedFileError` if a checkpoint is truncated, without reading all of it."""
    if path.exists():
        check_not_truncated(path, remedy='delete it to train that network anew')
