"""Console output and checks shared by all commands."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from ...ranks import Launched
from ...utils import suppress_training_logs

__all__ = ['check_output_file', 'command_line', 'echo', 'loading']


def echo(text: str) -> None:
    """Print progress to stderr, in the first process of a run; stdout is for results."""
    if Launched.here().is_first:
        print(f'nni-cafenet: {text}', file=sys.stderr, flush=True)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Announce the loading of heavy packages, and silence their warnings for a block."""
    echo('loading torch and NNI ...')
    with suppress_training_logs():
        yield


def command_line(options: argparse.Namespace) -> str:
    """Return the command line of this process."""
    return shlex.join(['nni-cafenet', *options.words])


def check_output_file(option: str, path: Path) -> None:
    """Raise if a file cannot be written, before any long work."""
    if path.is_dir():
        raise IsADirectoryError(f'{option} {path}: is a folder; name a file')
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f'{option} {path}: there is no folder {path.parent}; make it: mkdir -p {shlex.quote(str(path.parent))}'
        )
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f'{option} {path}: the folder {path.parent} cannot be written to')
