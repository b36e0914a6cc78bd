"""What all commands say and check in the same way."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from ...utils import suppress_training_logs

__all__ = ['check_output_file', 'command_line', 'echo', 'loading']


def echo(text: str) -> None:
    """Tell the user what is going on, on the error stream: results alone go to the output."""
    print(f'nni-cafenet: {text}', file=sys.stderr, flush=True)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Say that heavy packages are loaded, and keep them from warning and logging while a block runs."""
    echo('loading torch and NNI ...')
    with suppress_training_logs():
        yield


def command_line(options: argparse.Namespace) -> str:
    """Return the command that the user typed."""
    return shlex.join(['nni-cafenet', *options.words])


def check_output_file(option: str, path: Path) -> None:
    """Refuse a file that cannot be written, before any long work."""
    if path.is_dir():
        raise IsADirectoryError(f'{option} {path}: is a folder; name a file')
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f'{option} {path}: there is no folder {path.parent}; make it: mkdir -p {shlex.quote(str(path.parent))}'
        )
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f'{option} {path}: the folder {path.parent} cannot be written to')
