"""The command line: ``nni-cafenet``. Heavy packages are imported only once a command runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ._version import __version__
from .commands import inspect, quickstart
from .errors import CafeNetError

__all__ = ['main']

_EXAMPLES = """\
examples:
  nni-cafenet quickstart                              the whole job on scikit-learn's digits, in a few minutes
  nni-cafenet quickstart --budget 25% --output small  a smaller network, in a folder of its own
  nni-cafenet inspect resnet50 --input 1 3 224 224    the channel groups of a model, and what its widths cost
"""

COMMANDS = (quickstart, inspect)


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
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f'\nStopped. {options.stopped(options)}', file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (CafeNetError, ValueError, TypeError, OSError) as error:
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
    parser.set_defaults(stopped=lambda options: 'Nothing more is written.')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND')
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == '__main__':
    sys.exit(main())
