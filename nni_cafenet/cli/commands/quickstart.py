"""``nni-cafenet quickstart``: a complete search on real data without a download."""

from __future__ import annotations

import argparse
import warnings
from typing import Any

__all__ = ['add']

_DESCRIPTION = """\
Search the widths of a small residual network on scikit-learn's digits (real images, no download). The network
is wide early, where channels are expensive, and narrow late, so a search can improve it:

  1. train a supernet (CafeNet: locally free weight sharing, min-min) in an NNI experiment,
  2. search widths within the budget on a held-out part of the training data,
  3. train the searched network, the uniformly scaled one of the budget and the full one from scratch,
     by the same recipe and several seeds, and compare them on the test images.

The folder then contains table.md, widths.json + slim.pt (the slim network; nni_cafenet.load_slim reads them),
widths.svg (a figure of the widths), history.csv and history.json (all scored widths).
After Ctrl-C or a crash, the same command resumes the run.
"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    quickstart = commands.add_parser(
        'quickstart',
        help='a complete search on real data without a download',
        description=_DESCRIPTION,
    )
    quickstart.add_argument(
        '--output', default='cafenet-quickstart', metavar='DIR', help='folder of the run (default: %(default)s)'
    )
    quickstart.add_argument(
        '--budget',
        default='25%',
        help='the budget of the searched network: a share of the full MACs (25%%) or a number (200k); default: 25%%',
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
    print(f"The searched network with the supernet's weights: {result.inherited:.2f} % of the test images.")
    print(f'Its widths, weights and figure, and the history of the search, are in {options.output}.')
    return 0


def _stopped(options: argparse.Namespace) -> str:
    command = f'nni-cafenet quickstart --output {options.output} --budget {options.budget} --seed {options.seed}'
    return f'Progress is saved in {options.output}; to resume:\n  {command}'
