"""The folder of a run: what it was asked for, the supernet's checkpoint, and the scored widths."""

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
from .stage_records import changes_of, open_record, read_stages

__all__ = ['JOB_RECORD', 'RunFolder', 'check_checkpoint', 'keep_settings', 'new_run_path']

_REMEDY = 'give another directory to start anew'

JOB_RECORD = 'job.json'
"""What the command line was asked for; it may stand in the folder before the run does."""


def new_run_path(root: str | os.PathLike[str]) -> Path:
    """Return a path for a new run below a folder; nothing is made yet."""
    return Path(root) / 'cafenet' / f'{time.strftime("%Y%m%d-%H%M%S")}-{uuid.uuid4().hex[:6]}'


class RunFolder:
    """A run on disk. The files are its state: a run that is started again in its folder goes on from them.

    Parameters
    ----------
    path
        The folder.
    record
        What each stage of the run depends on (see `stages_record`); None: whatever the folder holds.
    make
        Make the folder if need be. Of several processes, only one should.

    Raises
    ------
    nni_cafenet.errors.ResumeError
        If the folder holds a supernet that was trained with something else; the message lists what differs.
    nni_cafenet.errors.FolderError
        If the folder cannot be read or written.
    """

    def __init__(self, path: Path, record: Mapping[str, Any] | None = None, *, make: bool = True) -> None:
        self.path = path
        self._make = make
        self.record: dict[str, Any] = {}
        if record is not None:
            self.record = open_record(path / 'run.json', record, make=make)

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from doing this run, for the length of a block (see `held`)."""
        return locked_folder(self.path) if self._make else contextlib.nullcontext()

    @property
    def checkpoint(self) -> Path:
        """Lightning's checkpoint of the supernet, written after every epoch."""
        return self.path / 'supernet.ckpt'

    @property
    def history(self) -> Path:
        """The scored widths, one JSON record a line; scores of another kind have another file."""
        names = self.record.get('histories', {})
        return self.path / names.get(digest(self.record.get('scores')), 'history.jsonl')

    @property
    def initial(self) -> Path:
        """The supernet's first weights, and the states of random generators when its training started."""
        return self.path / 'initial.pt'

    @property
    def setup(self) -> Path:
        """What trials make the space and the evaluators of."""
        return self.path / 'setup.json'

    def read_setup(self) -> str:
        """Return what trials make their objects of; refuse it where this user's key did not sign it, for it runs code."""
        return json.dumps(read_record(self.setup, remedy=_REMEDY, signed_for='setup')['setup'])

    def write_setup(self, text: str) -> None:
        """Keep what trials make their objects of, signed with the user's key."""
        write_record(self.setup, {'setup': json.loads(text)}, signed_for='setup')

    @property
    def search(self) -> Path:
        """The mailboxes of search trials."""
        return child_path(self.path, 'search')

    def check_space(self, space: Any) -> None:
        """Refuse a space that is not the run's; the message says what differs."""
        there = (read_stages(self.path / 'run.json') or {'supernet': {}})['supernet']
        here = {'macs': space.macs(space.full_widths), 'choices': {k: list(v) for k, v in space.choices.items()}}
        changes = changes_of({key: there.get(key) for key in here}, here)
        if changes:
            raise ResumeError(
                f'The model that its factory makes here is not that of the run in {self.path} ({changes}). Use the '
                'same code and the same versions of packages on all machines.'
            )

    @property
    def curves(self) -> Path:
        """What the supernet's training logged, one JSON record an epoch (see `read_curves`)."""
        return self.path / 'curves.jsonl'

    @property
    def uniform_loss(self) -> Path:
        """The held-out loss of the uniform network while the supernet was trained, one JSON record a look."""
        return self.path / 'uniform_loss.jsonl'

    @property
    def finalists(self) -> Path:
        """Which networks are finalists."""
        return self.path / 'finalists.json'

    @property
    def searched(self) -> bool:
        """Whether the search that the run is asked for has come to its end."""
        return self._done('searched.json') == self._search_asked

    def mark_searched(self) -> None:
        """Record that the search has come to its end."""
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
        """Return the folder of a finalist, or of a short training of some epochs."""
        return (
            self.finalist(name)
            if epochs is None
            else child_path(self.path, 'short_trainings', f'{epochs}_epochs', name)
        )

    def root_of(self, epochs: int | None = None) -> Path:
        """Return the folder of all finalists, or of all short trainings of some epochs."""
        return self.path / 'finalists' if epochs is None else self.path / 'short_trainings' / f'{epochs}_epochs'

    @property
    def trainings(self) -> list[Path]:
        """The folders of finalists and short trainings that were begun."""
        return [*self.path.glob('finalists/*'), *self.path.glob('short_trainings/*/*')]

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the supernet's checkpoint, or None before the end of the first epoch."""
        if not self.checkpoint.exists():
            return None
        return read_checkpoint(self.checkpoint)

    @property
    def trained(self) -> bool:
        """Whether the training of the supernet has ended."""
        return (self.path / 'supernet.json').exists()

    def mark_trained(self, **facts: Any) -> None:
        """Record that the training of the supernet has ended."""
        write_record(self.path / 'supernet.json', facts)


def keep_settings(record: Path, settings: Mapping[str, Any], *, make: bool = True) -> None:
    """Write down what a run is asked for, or refuse a folder in which another run is written down.

    Parameters
    ----------
    record
        The file.
    settings
        What the run is asked for, as JSON can hold it.
    make
        Write it if it is not there.

    Raises
    ------
    nni_cafenet.errors.ResumeError
        If it holds other settings; the message lists what differs.
    nni_cafenet.errors.FolderError
        If it cannot be written.
    """
    wanted = json.loads(json.dumps(settings))
    if record.exists():
        found = read_record(record, remedy=_REMEDY)
        changes = changes_of(found, wanted)
        if changes:
            raise ResumeError(
                f'directory={str(record.parent)!r} holds another run ({changes}). Use the settings of that run to resume '
                'it, or another directory.'
            )
    elif make:
        try:
            write_record(record, wanted)
        except OSError as error:
            raise FolderError(
                f'directory={str(record.parent)!r}: the state of the run cannot be kept there ({first_line(error)}). Give '
                'another directory, or make room in this one.'
            ) from error


def check_checkpoint(path: Path) -> None:
    """Refuse a checkpoint that is cut short, without reading it.

    Raises
    ------
    nni_cafenet.errors.DamagedFileError
        If its end is missing.
    """
    if path.exists():
        check_not_truncated(path, remedy='delete it to train that network anew')
