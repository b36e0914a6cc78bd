"""The latency table of a run, measured once and stored in its folder."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from ..errors import FolderError, ResumeError, first_line
from ..latency import LatencyOptions, LatencyTable
from ..options import BudgetSpec
from ..space import WidthSpace
from .folder_lock import locked_folder

__all__ = ['check_directory', 'table_of_run']

_PATIENCE = 3600.0  # seconds that other processes wait for the table
_NAME = 'latency.json'

_logger = logging.getLogger(__name__)


def table_of_run(spec: BudgetSpec, space: WidthSpace, directory: Path, trainer: Any) -> LatencyTable | None:
    """Return the latencies that the budget of a run asks for; None if it limits no latency.

    The run's folder keeps the table and its measurements, so the limits of a resumed run do not change: another table
    raises `ResumeError`. Rank 0 measures; the other ranks wait for at most an hour.
    """
    if spec.latency is None:
        return None
    options, path = LatencyOptions.of(spec.measured), directory / _NAME
    if not trainer.is_global_zero:
        _wait_for(path)
    elif not path.exists():
        _measure(options, space, directory)
    table = LatencyTable.load(path)
    table.check(space, str(path))
    options.check_measured_so(table, str(path))
    if options.table is not None and options.given(space).fingerprint() != table.fingerprint():
        raise ResumeError(
            f"directory={str(directory)!r}: its run used another latency table than budget['table']. Give that table, "
            'or another directory.'
        )
    return table


def check_directory(spec: BudgetSpec, directory: Path | None, trainer: Any) -> None:
    """Raise if several processes have no common folder in which to find the table."""
    if spec.latency is not None and directory is None and trainer.world_size > 1:
        raise ValueError(
            'directory=None: with a latency budget, several processes share the measured table through a directory. Give '
            'CafeNet a directory= that all processes can access.'
        )


def _measure(options: LatencyOptions, space: WidthSpace, directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with locked_folder(directory):
            table = options.table_for(space, directory / 'latency_times.jsonl')
            table.save(directory / _NAME)
    except OSError as error:
        raise FolderError(
            f'directory={str(directory)!r}: cannot write the latency table ({first_line(error)}). Give CafeNet another '
            'directory, or free disk space.'
        ) from error
    _logger.info('%s\nThese are predictions; the measured latency of a network may exceed the budget.', table)


def _wait_for(path: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while not path.exists():
        if time.monotonic() > end:
            raise FolderError(
                f'{str(path)!r} was not written by the first process of this run. Give CafeNet a directory= that all '
                'processes can access, or measure in advance and give the table in the budget.'
            )
        time.sleep(0.1)
