"""The command line: ``nni-cafenet``. Heavy packages are imported only once a command runs."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence

from ._version import __version__

__all__ = ['main']

_EXAMPLES = """\
examples:
  nni-cafenet quickstart                              the whole job on scikit-learn's digits, in a few minutes
  nni-cafenet quickstart --budget 25% --output small  a smaller network, in a folder of its own
"""

_QUICKSTART = """\
Search the widths of a small residual network on scikit-learn's digits (real images, no download):

  1. train a supernet (CafeNet: locally free weight sharing, min-min) in an NNI experiment,
  2. search widths within the budget on a held-out part of the training data,
  3. train the searched network, the uniformly scaled one of the same MACs and the full one from scratch,
     by the same recipe and several seeds, and compare them on the test images.

The folder then holds table.md, widths.json + slim.pt (the slim network; nni_cafenet.load_slim reads them),
widths.svg (a picture of the widths), history.csv and history.json (every width that was scored).
Stopped with Ctrl-C or killed, the same command goes on where it was.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        Default: those of the process.

    Returns
    -------
    The exit status: 0 done, 1 failed, 2 bad arguments or bad input, 130 interrupted.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, 'run'):
        parser.print_help()
        return 2
    try:
        status: int = options.run(options)
    except (ValueError, TypeError, OSError) as error:
        print(f'nni-cafenet: {error}', file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='nni-cafenet',
        description='Network width search with CafeNet, as a plugin of NNI.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'nni-cafenet {__version__}')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND')
    quickstart = commands.add_parser(
        'quickstart',
        help='the whole job on real data that needs no download',
        description=_QUICKSTART,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    quickstart.add_argument(
        '--output', default='cafenet-quickstart', metavar='DIR', help='folder of the run (default: %(default)s)'
    )
    quickstart.add_argument(
        '--budget',
        default='50%',
        help='what the searched network may cost: a share of the full MACs (50%%) or a number (200k); default: 50%%',
    )
    quickstart.add_argument('--seed', type=int, default=0, help='seed of the whole run (default: %(default)s)')
    quickstart.set_defaults(run=_quickstart)
    return parser


def _quickstart(options: argparse.Namespace) -> int:
    try:
        with warnings.catch_warnings():  # NNI warns of every class that is newer than itself
            warnings.simplefilter('ignore')
            from .quickstart import QuickstartOptions, quickstart

        chosen = QuickstartOptions(budget=options.budget, seed=options.seed)
        result = quickstart(options.output, chosen, say=print)
    except KeyboardInterrupt:
        command = f'nni-cafenet quickstart --output {options.output} --budget {options.budget} --seed {options.seed}'
        print(
            f'\nStopped. What was done is kept in {options.output}; to go on from there:\n  {command}', file=sys.stderr
        )
        return 130
    print(f'\n{result.table}\n')
    print(
        f"The searched network with the supernet's weights, untrained since: {result.inherited:.2f} % of the test images."
    )
    print(f'Its widths, weights and picture, and the history of the search, are in {options.output}.')
    return 0


if __name__ == '__main__':
    sys.exit(main())
