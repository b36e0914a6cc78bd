"""Checks at the start of a run on several devices: all processes have the same data, code and options, and one folder."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .._version import __version__
from ..errors import FolderError, RanksError
from ..ranks import gathered, on_all
from .resume_check import changes_of

__all__ = ['check_ranks', 'check_shared']

_PATIENCE = 30.0
"""Seconds for a file to appear on another machine: network file systems remember what was there before."""


def check_ranks(record: Mapping[str, Any]) -> None:
    """Raise `RanksError` in all processes if the fingerprint of one differs from that of the first."""
    versions = {
        'nni_cafenet': __version__,
        'torch': str(torch.__version__),
        'pytorch_lightning': version('pytorch_lightning'),
    }
    mine = json.loads(json.dumps({**record, 'versions': {**versions, 'python': platform.python_version()}}))
    found = gathered((platform.node(), mine))
    for rank, (node, other) in enumerate(found):
        changes = changes_of(found[0][1], other)
        if changes:
            raise RanksError(
                f'rank {rank} of {len(found)}, on {node}, differs from rank 0 (there): {changes}. '
                'All processes must see the same data, code, packages and options.'
            )


def check_shared(path: Path) -> None:
    """Raise if a process does not find a file of the run's folder that the first one has written."""

    def look() -> None:
        end = time.monotonic() + _PATIENCE
        while not path.exists():
            if time.monotonic() > end:
                raise FolderError(
                    f'{path} is not there on {platform.node()}: the folder of the run must be on a file system that all '
                    'nodes share. Give such a folder by directory= or --output.'
                )
            time.sleep(0.5)

    on_all(look)
