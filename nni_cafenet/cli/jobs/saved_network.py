"""The slim networks in the folder of a finished job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DamagedFileError, FolderError, first_line
from ...utils import read_record
from .job_folder import JobFolder

if TYPE_CHECKING:
    from torch import nn

__all__ = ['SavedNetwork']


@dataclass(frozen=True)
class SavedNetwork:
    """A slim network on disk; its name is the budget, such as ``'50%'``, or ``''`` if the job had a single one."""

    name: str
    folder: Path
    widths: dict[str, int]
    macs: int
    params: int

    @classmethod
    def all_of(cls, job: JobFolder) -> list[SavedNetwork]:
        """Return the networks of a job; a FolderError if there are none, since the job has not ended."""
        found = [cls.read(name, folder) for name, folder in job.networks().items()]
        if not found:
            raise FolderError(f'{str(job.path)!r}: the run has not ended; run its command again to resume it')
        return found

    @classmethod
    def read(cls, name: str, folder: Path) -> SavedNetwork:
        """Read the output of `nni_cafenet.save_slim`."""
        path = folder / 'widths.json'
        try:
            record = read_record(path, remedy='save the network again')
            return cls(name, folder, dict(record['widths']), int(record['macs']), int(record['params']))
        except DamagedFileError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FolderError(f'{path}: is damaged, or another version wrote it ({first_line(error)})') from error

    def load(self, make: Callable[[], nn.Module]) -> nn.Module:
        """Return the network, in evaluation mode on the CPU; ``make`` returns the full model."""
        from ...slim import load_slim

        return load_slim(make, self.folder).eval()
