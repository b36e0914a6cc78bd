"""``nni-cafenet compare``: searched, uniform and full network of a finished search, beside the published figures."""

from __future__ import annotations

import argparse
from typing import Any

from .console import loading

__all__ = ['add']

_DESCRIPTION = """\
Print the networks of a finished search that were trained by one recipe: the full one, the uniformly scaled one of the
budget and the searched ones, each with the score that the supernet gave it, the mean of its metric and the seeds. If the
run has a named recipe, the published figures follow.
"""

_EXAMPLES = """\
examples:
  nni-cafenet compare runs/mbv2
  nni-cafenet train-slim runs/mbv2 --which searched uniform full --seed 1     another seed of all three, then compare again

Exit status: 0 done, 1 failed, 2 bad arguments or bad input, 130 interrupted.
"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        'compare',
        help='searched, uniform and full network of a search, beside the published figures',
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument('folder', metavar='RUN', help='output folder of nni-cafenet search')
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with loading():
        from ..jobs import comparison_table

        table = comparison_table(options.folder)
    print(table)
    return 0
