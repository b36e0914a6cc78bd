"""``nni-cafenet report``: the results of a finished run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ...errors import FolderError
from .console import echo, loading

__all__ = ['add']

_DESCRIPTION = """\
Print the table of a finished run, and write its report again: report.md and report.html with figures of the widths, the
MACs of each layer, all scored widths and the training.
"""

_EXAMPLES = """\
examples:
  nni-cafenet report out
  nni-cafenet report out --output shared        the report in another folder

Exit status: 0 done, 1 failed, 2 bad arguments or bad input, 130 interrupted.
"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        'report',
        help='the table and the report of a finished run',
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument('folder', metavar='RUN', help='output folder of nni-cafenet prune or nni-cafenet search')
    parser.add_argument('--output', metavar='DIR', help='folder for the report (default: that of the run)')
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    folder = Path(options.folder)
    if not folder.is_dir():
        raise FolderError(f'{options.folder!r}: does not exist; give the output folder of nni-cafenet prune')
    with loading():
        from ...report import read_report, write_report

        report = read_report(folder)
        page = write_report(options.output or folder, report)
    print(report)
    echo(f'wrote {page} and report.md beside it')
    return 0
