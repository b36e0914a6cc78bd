"""``nni-cafenet sensitivity``: the loss of a trained network if one channel group alone becomes narrower."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError
from ...utils import suppress_training_logs
from ..config import Configuration, Given, add_flags, given_flags, list_missing_files
from .console import check_output_file, echo, loading
from .job_options import SOURCES

__all__ = ['add']

_DESCRIPTION = f"""\
Show which channel groups of a trained network can become narrower: each group alone at a few widths, the loss after its
running statistics were re-estimated. Nothing is trained, so this takes a minute; widths of several groups are found by
`nni-cafenet prune`.

{SOURCES}
"""

_EXAMPLES = """\
examples:
  nni-cafenet sensitivity --model resnet18 --weights r18.pt --data imagefolder:./photos --plot sensitivity.svg
  nni-cafenet sensitivity --model nets.py:small --weights small.pt --data cifar10:./cifar --shares 50% 25% --batches 20

In Python: print(nni_cafenet.sensitivity(space, loader)).
Exit status: 0 done, 2 bad arguments or bad input, 130 interrupted.
"""

_FIELDS = (
    *(
        'model.name',
        'model.args',
        'model.classes',
        'model.weights',
        'model.weights_key',
        'model.unpickle',
        'model.input',
    ),
    *('data.source', 'data.batch_size', 'data.workers', 'data.validation'),
    *('space.bins', 'space.min_ratio', 'space.divisor', 'space.include', 'space.exclude', 'space.outputs'),
    *('training.loss', 'training.importance', 'seed', 'device'),
)


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        'sensitivity',
        usage='nni-cafenet sensitivity --model MODEL --weights FILE --data SOURCE [options]',
        help='which channel groups of a trained network can become narrower: a first look, without training',
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    look = parser.add_argument_group('look')
    look.add_argument(
        '--shares',
        nargs='+',
        default=['75%', '50%', '25%'],
        metavar='SHARE',
        help='widths of a group (default: 75%% 50%% 25%%)',
    )
    look.add_argument('--batches', type=int, default=8, metavar='N', help='batches for the loss (default: %(default)s)')
    look.add_argument(
        '--statistics-batches',
        type=int,
        default=8,
        metavar='N',
        help='batches for running statistics (default: %(default)s)',
    )
    look.add_argument('--plot', metavar='FILE', help='a figure: .svg, .png or .pdf')
    look.add_argument('--json', metavar='FILE', help='everything, as JSON')
    add_flags(parser, _FIELDS)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    shares = [_share(word) for word in options.shares]
    for option in ('plot', 'json'):
        if getattr(options, option) is not None:
            check_output_file(f'--{option}', Path(getattr(options, option)))
    if options.plot is not None:
        from ...report import check_plot

        check_plot(Path(options.plot).suffix)
    given = {**given_flags(options), 'output': Given('--output', '.')}
    asked = Configuration.checked(None, given, trained=True, more=(list_missing_files,))
    if asked['model.weights'] is None and not asked['model.unpickle']:
        raise ConfigurationError('--weights: is missing; fresh weights say nothing about a trained network')
    with loading():
        from ...space import WidthMutator
        from ..jobs import prepare_job, space_options

        prepared = prepare_job(asked, echo)
    with suppress_training_logs():
        import torch

        from ...pruning import sensitivity

        options_of_space = {**space_options(asked), 'min_ratio': asked['space.min_ratio'] or 0}
        space = WidthMutator(**options_of_space).mutate(prepared.model, example_input=prepared.input)
        device = asked['device']
        if device == 'auto':
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        importance = asked['training.importance']
        found = sensitivity(
            space.to(device),
            prepared.data.train,
            prepared.loss,
            shares=shares,
            importance=None if importance == 'none' else importance,
            batches=options.batches,
            statistics_batches=options.statistics_batches,
            seed=asked['seed'],
        )
    print(found)
    if options.plot is not None:
        found.plot(options.plot)
        echo(f'wrote {options.plot}')
    if options.json is not None:
        from ...utils import write_json

        write_json(options.json, found.to_dict())
        echo(f'wrote {options.json}')
    return 0


def _share(word: str) -> float:
    try:
        share = float(word.rstrip('%')) / (100 if word.endswith('%') else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise ConfigurationError(f'--shares: {word}: must be shares of the full width, such as 75% 50% 25% or 0.5')
    return share
