"""The command line: ``nni-cafenet``. Heavy packages are imported only once a command runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from .._version import __version__
from ..utils import nearest, sigterm_as_interrupt
from .commands import COMMANDS, status_of

__all__ = ['main']

_EXAMPLES = """\
examples:
  nni-cafenet quickstart                              the whole job on scikit-learn's digits, in a few minutes
  nni-cafenet quickstart --budget 25% --output small  a smaller network, in a folder of its own
  nni-cafenet inspect resnet50 --input 1 3 224 224    the channel groups of a model, and the costs of its widths
  nni-cafenet prune --model resnet18 --weights r18.pt --data imagefolder:./photos --budget 50% --output out
  nni-cafenet search --config search.yaml             a search from fresh weights, or any job from a file
  nni-cafenet recipes                                 the experiments of the paper and its peers, a command each
  nni-cafenet compare out                             searched, uniform and full network, beside published figures
  nni-cafenet train-slim out --epochs 100             train the slim network again, from scratch
  nni-cafenet export out --onnx slim.onnx --torchscript slim.pt
  nni-cafenet report out                              the table of a run, and its report with figures

`nni-cafenet COMMAND --help` has the options and more examples.
Exit status: 0 done, 1 failed, 2 bad arguments or bad input, 130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default with the arguments of the process.

    Returns the exit status: 0 done, 1 failed, 2 bad arguments or bad input, 130 interrupted.
    """
    parser = _parser()
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(words)
    if not hasattr(options, 'run'):
        parser.print_help()
        return 2
    options.words = words
    try:
        with sigterm_as_interrupt():
            status: int = options.run(options)
            sys.stdout.flush()
    except KeyboardInterrupt:
        print(f'\nStopped. {options.stopped(options)}', file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001  code of users raises whatever it likes
        return status_of(error)
    return status


class _Parser(argparse.ArgumentParser):
    """A parser that accepts long options only in full; its subparsers are of the same class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(
            *args, **{'allow_abbrev': False, 'formatter_class': argparse.RawDescriptionHelpFormatter, **kwargs}
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; the error for an unknown option names similar ones."""
        found, rest = super().parse_known_args(args, namespace)
        options = [option for option in self._option_string_actions if option.startswith('--')]
        for word in rest:
            flag = word.partition('=')[0]
            if flag.startswith('--') and len(flag) > 2:
                near = nearest(flag, options)[:3]
                self.error(f'unknown option {flag}; did you mean {" or ".join(near)}? Options are written in full')
        return found, rest


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog='nni-cafenet',
        description='Network width search with CafeNet, as a plugin of NNI.',
        epilog=_EXAMPLES,
    )
    parser.add_argument('--version', action='version', version=f'nni-cafenet {__version__}')
    parser.set_defaults(stopped=lambda options: 'Nothing more is written.')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND')
    for command in COMMANDS:
        command.add(commands)
    return parser
