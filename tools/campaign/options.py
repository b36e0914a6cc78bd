"""What `kill_campaign.py` is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .faults import KINDS

__all__ = ['RUN_NAMES', 'parsed']

RUN_NAMES = {
    'search': 'supernet, search, two finalists and the baseline, the best network on disk',
    'family': 'two budgets on one supernet; struck while its finalists, which inherit weights, are trained',
    'pruning': 'prune(): the same on given weights, with fine-tuning, networks and report on disk',
    'latency': 'a latency table (times are computed, since real ones never repeat), then a search under it',
    'export': 'slim files, ONNX, TorchScript',
    'command': 'nni-cafenet search, train-slim and report; struck at the start and while results are written',
}

_ABOUT = """\
Kill small runs at every k-th file operation, resume them, and compare with uninterrupted ones, to the bit.

A case starts a run in an empty folder. Its process counts its own file operations (files opened to write, flushed,
renamed or removed, folders made) and brings a fault about at one of them. The run is then resumed as a user would, by
starting it again. All that it returns and all files in its folder must be those of an uninterrupted run; what may
differ is listed in campaign/outcome.py.
"""

_MORE = """\
examples:
  python tools/kill_campaign.py                           every 7th operation of every run, each kind of fault
  python tools/kill_campaign.py --every 1 --run export    all operations of one run
  python tools/kill_campaign.py --kind power --chains 50  power failures, and 50 chains of several faults a run
  python tools/kill_campaign.py --minutes 25              cases in random order, as many as there is time for

OUTPUT/results.jsonl has a line a case, OUTPUT/campaign.md and campaign.json the tables. Started again with the same
OUTPUT, a campaign leaves out the cases that it has; after a change of the code, give another folder.
A case takes two to ten seconds on one core. Only Linux: processes are forked, and the names of open files looked up.

Exit status: 0 all cases ended the same, 1 some did not, 2 bad arguments, 130 interrupted.
"""


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a command line; exits with status 2 where they are wrong."""
    runs, kinds = ('\n'.join(f'  {name:<10} {what}' for name, what in names.items()) for names in (RUN_NAMES, KINDS))
    parser = argparse.ArgumentParser(
        prog='kill_campaign.py',
        description=f'{_ABOUT}\nruns:\n{runs}\n\nkinds of faults:\n{kinds}\n',
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument('--run', nargs='+', choices=RUN_NAMES, default=list(RUN_NAMES), help='default: all')
    parser.add_argument('--kind', nargs='+', choices=KINDS, default=list(KINDS), help='default: all')
    parser.add_argument(
        '--phase', nargs='+', metavar='PHASE', help='start, supernet, search, ...; default: all of a run'
    )
    parser.add_argument(
        '--every', type=_whole(1), default=7, metavar='K', help='strike every K-th operation (default: 7)'
    )
    parser.add_argument('--chains', type=_whole(0), default=5, metavar='N', help='chains of faults a run (default: 5)')
    parser.add_argument('--seed', type=_whole(0), default=0, help='of first operations, cuts and chains (default: 0)')
    parser.add_argument('--minutes', type=_minutes, metavar='M', help='start no further case after M minutes')
    parser.add_argument(
        '--fresh',
        action=argparse.BooleanOptionalAction,
        help='start Python anew for every process, in place of a fork (default: only to check, once for each run, that it '
        'makes no difference; --no-fresh: never)',
    )
    parser.add_argument(
        '--output', type=Path, default=Path('kill_campaign'), help='folder of the results (default: kill_campaign)'
    )
    return parser.parse_args(arguments)


def _whole(least: int) -> type:
    def whole(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f'{text} is below {least}')
        return number

    return whole  # type: ignore[return-value]


def _minutes(text: str) -> float:
    minutes = float(text)
    if not minutes > 0:
        raise argparse.ArgumentTypeError(f'{text} must be above 0')
    return minutes
