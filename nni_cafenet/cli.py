"""The command line: ``nni-cafenet``. Heavy packages are imported only once a command runs."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ._version import __version__
from .errors import CafeNetError

if TYPE_CHECKING:
    from .inspection import Inspection
    from .space.width_space import WidthSpace

__all__ = ['main']

_EXAMPLES = """\
examples:
  nni-cafenet quickstart                              the whole job on scikit-learn's digits, in a few minutes
  nni-cafenet quickstart --budget 25% --output small  a smaller network, in a folder of its own
  nni-cafenet inspect resnet50 --input 1 3 224 224    the channel groups of a model, and what its widths cost
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

_INSPECT = """\
Show what the width space of a model is made of: its channel groups, what is fixed and why, what it costs.
Nothing is trained and nothing is downloaded: the model has fresh weights.

MODEL is one of
  resnet50                    a model of torchvision: classification, segmentation, detection, video, ...
  package.module:factory      a function without arguments that returns a torch.nn.Module, or the module itself;
                              packages in the working directory are found
  path/to/model.py:factory    the same in a file
  model.pt                    a whole model that torch.save wrote; only with --unpickle, because loading it runs code

A group is what changes together: one width for all layers that make or read its channels. MACs are
multiply-accumulates of one sample; the MACs of a channel tell which groups are worth making narrower.
"""

_INSPECT_EXAMPLES = """\
examples:
  nni-cafenet inspect resnet50 --input 1 3 224 224
  nni-cafenet inspect my_package.nets:small --input 1 3 32 32 --plot macs.svg
  nni-cafenet inspect net.py:Net --input 1 128 int64 --input 1 128 bool     two inputs: indices, and a mask
  nni-cafenet inspect resnet50 --input 1 3 224 224 --exclude conv1 'layer4.*' --bins 20 --min-ratio 0.25
  nni-cafenet inspect resnet50 --input 1 3 224 224 --json - | python -m json.tool

In Python: print(nni_cafenet.inspect_space(space)).
Exit status: 0 done, 2 bad arguments or bad input, 130 interrupted.
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
        sys.stdout.flush()
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
    inspect = commands.add_parser(
        'inspect',
        usage='nni-cafenet inspect MODEL --input N [N ...] [options]',  # --input would swallow a model behind it
        help='the channel groups of any model, and what its widths cost',
        description=_INSPECT,
        epilog=_INSPECT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_space_options(inspect)
    files = inspect.add_argument_group('files', 'Written whole or not at all. With - the terminal gets that alone.')
    files.add_argument('--json', metavar='FILE', help='everything, as JSON; - for the terminal')
    files.add_argument('--csv', metavar='FILE', help='the groups, as CSV; - for the terminal')
    files.add_argument(
        '--plot',
        metavar='FILE',
        help='a picture of the MACs of each layer, coloured by channel group: .svg, .png or .pdf',
    )
    inspect.set_defaults(run=_inspect)
    return parser


def _add_space_options(parser: argparse.ArgumentParser) -> None:
    """The model and how its space is made: what `_space_of` reads."""
    parser.add_argument('model', metavar='MODEL', help='the model, see above')
    parser.add_argument(
        '--input',
        required=True,
        nargs='+',
        action='append',
        metavar='N',
        help='shape of an input, the batch first, such as 1 3 224 224; int64 (filled with 0 and 1) or bool may follow; '
        'once for each input',
    )
    parser.add_argument(
        '--unpickle', action='store_true', help='load a model that torch.save wrote: runs the code that the file names'
    )
    space = parser.add_argument_group('space')
    space.add_argument(
        '--bins',
        default='1:32',
        metavar='RULE',
        help='SMALLEST:LARGEST for bins of about the same MACs, in channels, or how many bins a group has, such as 20 '
        '(default: %(default)s)',
    )
    space.add_argument(
        '--min-ratio',
        type=float,
        default=0.1,
        metavar='SHARE',
        help='smallest width of a group as a share of its full width; 0: one bin (default: %(default)s)',
    )
    space.add_argument(
        '--divisor',
        type=int,
        default=1,
        metavar='N',
        help='widths are multiples of it, in groups whose full width is one (default: %(default)s)',
    )
    for name, may in (('include', 'may'), ('exclude', 'may not')):
        space.add_argument(
            f'--{name}',
            nargs='+',
            action='extend',
            metavar='LAYER',
            help=f"layers whose output widths {may} change: names, names of parts, shell patterns such as 'layer4.*'",
        )


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


def _inspect(options: argparse.Namespace) -> int:
    outputs = {option: getattr(options, option) for option in ('json', 'csv', 'plot')}
    if [outputs['json'], outputs['csv']] == ['-', '-']:
        raise ValueError('--json - and --csv - both want the terminal; write one of them into a file')
    for option, file in outputs.items():
        if file is not None and (file != '-' or option == 'plot'):
            _check_output(f'--{option}', Path(file))
    try:
        if options.plot is not None:
            from .report.layers_plot import check_plot

            check_plot(Path(options.plot).suffix)
        space = _space_of(options)
        from .inspection import inspect_space

        _say('counting the MACs of each layer ...')
        found = inspect_space(space, options.model)
        _write_inspection(found, options)
    except KeyboardInterrupt:
        print('\nStopped; nothing more is written.', file=sys.stderr)
        return 130
    return 0


def _space_of(options: argparse.Namespace) -> WidthSpace:
    """Make the space that the options of `_add_space_options` ask for; progress goes to the error stream."""
    from .model_spec import InputShape, example_of, load_model

    shapes = [InputShape.read(words) for words in options.input]
    _say('loading torch and NNI ...')
    with warnings.catch_warnings():  # NNI warns of every class that is newer than itself
        warnings.simplefilter('ignore')
        import torch

        from .space.bins import parse_bins
        from .space.mutator import WidthMutator

        mutator = WidthMutator(
            bins=parse_bins(options.bins),
            include=options.include,
            exclude=options.exclude,
            min_ratio=options.min_ratio,
            divisor=options.divisor,
        )
        torch.manual_seed(0)
        _say(f'making {options.model} ...')
        model = load_model(options.model, unpickle=options.unpickle)
        inputs = ', '.join(map(str, shapes))
        _say(f'reading its channel groups from {inputs}, and holding them against real forwards ...')
        start = time.monotonic()
        space = mutator.mutate(model, example_input=example_of(shapes, model))
    _say(f'{len(space.groups)} channel groups in {time.monotonic() - start:.1f} s')
    return space


def _write_inspection(found: Inspection, options: argparse.Namespace) -> None:
    from .files import write_bytes, write_json, write_text

    if options.json == '-':
        import json

        print(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    elif options.csv == '-':
        print(found.to_csv(), end='')
    else:
        print(found)
    if options.json not in (None, '-'):
        write_json(options.json, found.to_dict())
        _say(f'wrote {options.json}')
    if options.csv not in (None, '-'):
        write_text(options.csv, found.to_csv())
        _say(f'wrote {options.csv}')
    if options.plot is not None:
        from .report.layers_plot import layers_plot

        layers = [(record.layer, record.macs, record.group) for record in found.layers]
        title = f'{found.name}: {found.macs:,} MACs'
        write_bytes(options.plot, layers_plot(layers, title=title, suffix=Path(options.plot).suffix))
        _say(f'wrote {options.plot}')


def _check_output(option: str, path: Path) -> None:
    """Refuse a file that cannot be written, before any long work."""
    if path.is_dir():
        raise IsADirectoryError(f'{option} {path}: is a folder; name a file')
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f'{option} {path}: there is no folder {path.parent}; make it: mkdir -p {shlex.quote(str(path.parent))}'
        )
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f'{option} {path}: the folder {path.parent} cannot be written to')


def _say(text: str) -> None:
    print(f'nni-cafenet: {text}', file=sys.stderr, flush=True)


if __name__ == '__main__':
    sys.exit(main())
