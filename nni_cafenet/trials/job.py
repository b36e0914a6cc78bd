"""A job: one task of a run for NNI's training service, and its trial."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .trial import CafeNetTrial

__all__ = ['ACTIVE', 'Job']

ACTIVE = ('SUBMITTED', 'WAITING', 'RUNNING', 'UNKNOWN', 'ADD_RESUMED', 'ADD_CUSTOMIZED', 'ADD_HYPERPARAMETER')
"""Statuses of trials that wait or run."""


@dataclass
class Job:
    """A task for the training service (see `run_task`).

    ``name`` is for messages, such as ``'finalist 2'``. ``summary`` and ``details`` are shown in the web UI: as axes and
    columns, and in the trial's details. NNI's ``status`` of the trial is ``'SUBMITTED'``, and its id ``trial`` empty,
    until NNI lists it.
    """

    name: str
    task: dict[str, Any]
    summary: dict[str, Any]
    details: dict[str, Any] = field(default_factory=dict)
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    status: str = 'SUBMITTED'
    trial: str = ''
    log: Path | None = None
    failures: int = 0
    model: CafeNetTrial | None = None

    @property
    def title(self) -> str:
        """The name, as it is in the ID of its trial: ``'finalist-2'``."""
        return re.sub(r'\W+', '-', self.name)[:40].strip('-')

    @property
    def does(self) -> str:
        """Key of interchangeable jobs: all search trials share one."""
        return 'search' if self.task['stage'] == 'search' else self.name

    @property
    def active(self) -> bool:
        """Whether it is waiting or running."""
        return self.status in ACTIVE

    @property
    def reports(self) -> int:
        """The number of intermediate results since the last resume."""
        return 0 if self.model is None else len(self.model.metrics.intermediates)

    @property
    def succeeded(self) -> bool:
        """Whether the trial succeeded."""
        return self.status == 'SUCCEEDED'
