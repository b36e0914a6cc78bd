"""A folder that appears whole or not at all: written under another name, which it changes once it is complete."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ['new_folder']


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """Yield a temporary folder, which takes its name once it is complete; a ValueError if that holds something."""
    folder = Path(folder)
    _check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f'.{folder.name}.{secrets.token_hex(4)}.tmp'
    temporary.mkdir()
    try:
        yield temporary
        _check_free(folder)
        if os.name == 'nt' and folder.exists():
            folder.rmdir()  # elsewhere an empty folder is replaced in one step
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f'{folder} exists already; give another folder, or remove it.')
