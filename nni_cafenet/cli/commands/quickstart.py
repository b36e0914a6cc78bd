"""``nni-cafenet quickstart``: a complete search on real data without a download."""

from __future__ import annotations

import argparse
import warnings
from typing import Any

__all__ = ['add']

_DESCRIPTION = """\
Search the widths of a small residual network on scikit-learn's digits (real images, no download). The network
is wide early, where channels are expensive, and narrow late, so there is something to find:

  1. train a supernet (CafeNet: locally free weight sharing, min-min) in an NNI experiment,
  2. search widths within the budget on a held-out part of the training data,
  3. train the searched network, the uniformly scaled one of the budget and the full one from scratch,
     by the same recipe and several seeds, and compare them on the test images.

The folder then holds table.md, widths.json + slim.pt (the slim network; nni_cafenet.load_slim reads them),
widths.svg (a picture of the widths), history.csv and history.json (every width that was scored).
Stopped with Ctrl-C or killed, the same command goes on where it was.
"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    quickstart = commands.add_parser(
        'quickstart',
        help='the whole job on real data that needs no download',
        description=_DESCRIPTION,
    )
    quickstart.add_argument(
        '--output', default='cafenet-quickstart', metavar='DIR', help='folder of the run (default: %(default)s)'
    )
    quickstart.add_argument(
        '--budget',
        default='25%',
        help='what the searched network may cost: a share of the full MACs (25%%) or a number (200k); default: 25%%',
    )
    quickstart.add_argument('--seed', type=int, default=0, help='seed of the whole run (default: %(default)s)')
    quickstart.set_defaults(run=_run, stopped=_stopped)


def _run(options: argparse.Namespace) -> int:
    with warnings.catch_warnings():  # NNI warns about every class newer than itself
        warnings.simplefilter('ignore')
        from ..quickstart import QuickstartOptions, quickstart

    chosen = QuickstartOptions(budget=options.budget, seed=options.seed)
    result = quickstart(options.output, chosen, echo=print)
    print(f'\n{result.table}\n')
    print(
        f"The searched network with the supernet's weights, untrained since: {result.inherited:.2f} % of the test images."
    )
    print(f'Its widths, weights and picture, and the history of the search, are in {options.output}.')
    return 0


def _stopped(options: argparse.Namespace) -> str:
    command = f'nni-cafenet quickstart --output {options.output} --budget {options.budget} --seed {options.seed}'
    return f'What was done is kept in {options.output}; to go on from there:\n  {command}'
