"""The folder of a job, and the record of its options: it is resumed with the same ones only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError, DamagedFileError, FolderError, ResumeError, first_line
from ...stages import JOB_RECORD
from ...utils import read_record, write_record
from ..config import Configuration, output_in_the_way

__all__ = ['QUESTIONS', 'JobFolder', 'JobRecord']


@dataclass(frozen=True)
class JobRecord:
    """The options of a job, and what it found out about its model and data.

    ``command`` is ``'prune'`` or ``'search'``; ``arguments`` are those of the model's factory; ``input`` is the shape
    of the model's input, with the batch; ``classes`` is None if the data have no names.
    """

    command: str
    configuration: Configuration
    arguments: Mapping[str, Any]
    input: tuple[int, ...]
    classes: tuple[str, ...] | None

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return {
            'format': 1,
            'command': self.command,
            'configuration': self.configuration.nested(),
            'model': {'arguments': dict(self.arguments), 'input': list(self.input)},
            'classes': None if self.classes is None else list(self.classes),
        }


class JobFolder:
    """The folder of a job."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def has_record(self) -> bool:
        """Whether the folder holds the record of a job."""
        return (self.path / JOB_RECORD).is_file()

    @property
    def started(self) -> bool:
        """Whether a job has started to train here."""
        return self.has_record and (self.path / 'run.json').is_file()

    def check(self, command: str, configuration: Configuration) -> None:
        """Raise if the job can be neither started nor resumed in the folder.

        That is ResumeError, with a list of the differences, for a job with other options, and FolderError for other
        contents or a file.
        """
        if self.started:
            there = self.load()
            different = there.configuration.differences(configuration, without=QUESTIONS)
            if there.command != command:
                different.insert(0, f'command: {there.command} there, {command} now')
            if different:
                lines = '\n'.join(f'  {each}' for each in different)
                raise ResumeError(
                    f'output {str(self.path)!r}: has a run with other options. Give its options to resume it, or '
                    f'another folder:\n{lines}'
                )
        elif what := output_in_the_way(self.path):
            raise FolderError(f'output {str(self.path)!r}: {what}')

    def keep(self, record: JobRecord) -> None:
        """Write the record of a job, unless it exists."""
        if self.started and self.load().configuration == record.configuration:
            return
        try:
            write_record(self.path / JOB_RECORD, record.to_json())
        except OSError as error:
            raise FolderError(
                f'output {str(self.path)!r}: cannot be written to ({first_line(error)}); give another folder, or free '
                'some space'
            ) from error

    def load(self) -> JobRecord:
        """Return the record of the job; a FolderError if there is none, or another version wrote it."""
        path = self.path / JOB_RECORD
        if not self.has_record:
            what = 'does not exist' if not self.path.exists() else f'holds no {JOB_RECORD}'
            raise FolderError(
                f'{str(self.path)!r}: {what}; give the output folder of nni-cafenet prune or nni-cafenet search'
            )
        try:
            record = read_record(path, remedy='give another folder to start again')
            return JobRecord(
                record['command'],
                Configuration.from_nested(record['configuration']),
                record['model']['arguments'],
                tuple(record['model']['input']),
                None if record['classes'] is None else tuple(record['classes']),
            )
        except DamagedFileError:
            raise
        except (ValueError, KeyError, TypeError, ConfigurationError) as error:
            raise FolderError(f'{path}: is damaged, or another version wrote it ({first_line(error)})') from error

    def networks(self) -> dict[str, Path]:
        """Return the folders of the finished networks: ``''`` for one alone, else by the names of their budgets."""
        found = {'': self.path} if (self.path / 'widths.json').is_file() else {}
        folders = sorted(path for path in self.path.iterdir() if path.is_dir()) if self.path.is_dir() else []
        for path in folders:
            if path.name not in _NO_NETWORKS and (path / 'widths.json').is_file():
                found[path.name] = path
        return found


QUESTIONS = (
    'budget',
    'search.method',
    'search.population',
    'search.generations',
    'search.candidates',
    'search.halving',
    'search.keep',
    'search.score',
    'search.temperature',
    'search.headroom',
    'search.statistics_batches',
    'search.finalists',
    'search.baseline',
    'search.full',
    'training.finetune_epochs',
    'training.metric',
)
"""Fields that may differ in a later job of the folder, which reuses the trained supernet."""

_NO_NETWORKS = ('finalists', 'trained')
"""Subfolders with networks of other stages."""
