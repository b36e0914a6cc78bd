"""Options for a model and its width space."""

from __future__ import annotations

import argparse
import time
import warnings
from typing import TYPE_CHECKING

from ..config import add_flags, check_options, given_flags, list_missing_files
from .console import echo

if TYPE_CHECKING:
    from ...space import WidthSpace

__all__ = ['add_space_options', 'space_of']

_OF_MODEL = ('model.args', 'model.classes', 'model.weights', 'model.weights_key')


def add_space_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `space_of` reads."""
    parser.add_argument('model', metavar='MODEL', help='the model; see above')
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
        '--unpickle', action='store_true', help='load a model saved by torch.save: runs code that the file names'
    )
    add_flags(parser, _OF_MODEL)
    space = parser.add_argument_group('space')
    space.add_argument(
        '--bins',
        default='1:32',
        metavar='RULE',
        help='SMALLEST:LARGEST for bins of about equal MACs, in channels, or the number of bins per group, such as 20 '
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
        help='widths are multiples of it in groups whose full width is one (default: %(default)s)',
    )
    for name, may in (('include', 'may'), ('exclude', 'may not')):
        space.add_argument(
            f'--{name}',
            nargs='+',
            action='extend',
            metavar='LAYER',
            help=f"layers whose output widths {may} change: names, names of parts, shell patterns such as 'layer4.*'",
        )
    space.add_argument(
        '--outputs',
        nargs='+',
        action='extend',
        metavar='OUTPUT',
        help='outputs that keep their sizes, by name or path, such as logits (default: all; of Hugging Face models not '
        'their caches, hidden states and attention maps)',
    )


def space_of(options: argparse.Namespace) -> WidthSpace:
    """Build the space for the options of `add_space_options`, with progress on stderr."""
    given = given_flags(options)
    check_options(given, list_missing_files)
    from ..loading import InputShape, example_of, find_weights, give_weights, load_model, torchvision_name

    shapes = [InputShape.read(words) for words in options.input]
    echo('loading torch and NNI ...')
    with warnings.catch_warnings():  # NNI warns about every class newer than itself
        warnings.simplefilter('ignore')
        import torch

        from ...space import WidthMutator, parse_bins

        mutator = WidthMutator(
            bins=parse_bins(options.bins),
            include=options.include,
            exclude=options.exclude,
            outputs=options.outputs,
            min_ratio=options.min_ratio,
            divisor=options.divisor,
        )
        torch.manual_seed(0)
        echo(f'making {options.model} ...')
        asked = {path: each.value for path, each in given.items()}
        classes, weights = asked.get('model.classes'), asked.get('model.weights')
        arguments = {**asked.get('model.args', {}), **({} if classes is None else {'num_classes': classes})}
        model = load_model(options.model, arguments=arguments, unpickle=options.unpickle)
        if weights is not None:
            found = find_weights(
                weights,
                torchvision_name=torchvision_name(options.model),
                key=asked.get('model.weights_key'),
                unpickle=options.unpickle,
            )
            for note in give_weights(model, found, weights):
                echo(f'weights: {note}')
        inputs = ', '.join(map(str, shapes))
        echo(f'reading its channel groups from {inputs}, and verifying them by real forwards ...')
        start = time.monotonic()
        space = mutator.mutate(model, example_input=example_of(shapes, model))
    echo(f'{len(space.groups)} channel groups in {time.monotonic() - start:.1f} s')
    return space
