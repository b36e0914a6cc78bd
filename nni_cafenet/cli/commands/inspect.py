"""``nni-cafenet inspect``: summary of a model's width space."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import check_output_file, echo
from .space_options import add_space_options, space_of

if TYPE_CHECKING:
    from ...report import Inspection

__all__ = ['add']

_DESCRIPTION = """\
Show the width space of a model: its channel groups, fixed channels with the reasons, and costs.
Nothing is trained, and the model has fresh weights unless --weights gives others.

MODEL is one of
  resnet50                    a model of torchvision: classification, segmentation, detection, video, ...
  package.module:factory      a function without arguments that returns a torch.nn.Module, or the module itself;
                              packages in the working directory are found
  path/to/model.py:factory    the same in a file
  model.pt                    a whole model saved by torch.save; only with --unpickle, because loading it runs code

A group consists of channels that change together: one width for all layers that output or read them. MACs are
multiply-accumulates of one sample; the MACs per channel show which groups are worth narrowing.
"""

_EXAMPLES = """\
examples:
  nni-cafenet inspect resnet50 --input 1 3 224 224
  nni-cafenet inspect my_package.nets:small --input 1 3 32 32 --plot macs.svg
  nni-cafenet inspect net.py:Net --input 1 128 int64 --input 1 128 bool     two inputs: indices, and a mask
  nni-cafenet inspect nets.py:small --model-args width=8 depth=3 --classes 10 --input 1 3 32 32
  nni-cafenet inspect resnet50 --input 1 3 224 224 --exclude conv1 'layer4.*' --bins 20 --min-ratio 0.25
  nni-cafenet inspect resnet50 --input 1 3 224 224 --json - | python -m json.tool

In Python: print(nni_cafenet.inspect_space(space)).
Exit status: 0 done, 2 bad arguments or bad input, 130 interrupted.
"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    inspect = commands.add_parser(
        'inspect',
        usage='nni-cafenet inspect MODEL --input N [N ...] [options]',  # --input would swallow a model behind it
        help='the channel groups of any model, and the costs of its widths',
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    add_space_options(inspect)
    files = inspect.add_argument_group('files', 'Written atomically. With -, only this goes to the terminal.')
    files.add_argument('--json', metavar='FILE', help='everything, as JSON; - for the terminal')
    files.add_argument('--csv', metavar='FILE', help='the groups, as CSV; - for the terminal')
    files.add_argument(
        '--plot',
        metavar='FILE',
        help='a figure of the MACs of each layer, colored by channel group: .svg, .png or .pdf',
    )
    inspect.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    outputs = {option: getattr(options, option) for option in ('json', 'csv', 'plot')}
    if [outputs['json'], outputs['csv']] == ['-', '-']:
        raise ValueError('--json - and --csv - both write to the terminal; write one of them to a file')
    for option, file in outputs.items():
        if file is not None and (file != '-' or option == 'plot'):
            check_output_file(f'--{option}', Path(file))
    if options.plot is not None:
        from ...report import check_plot

        check_plot(Path(options.plot).suffix)
    space = space_of(options)
    from ...report import inspect_space

    echo('counting the MACs of each layer ...')
    found = inspect_space(space, options.model)
    _write_inspection(found, options)
    return 0


def _write_inspection(found: Inspection, options: argparse.Namespace) -> None:
    from ...utils import write_bytes, write_json, write_text

    if options.json == '-':
        import json

        print(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    elif options.csv == '-':
        print(found.to_csv(), end='')
    else:
        print(found)
    if options.json not in (None, '-'):
        write_json(options.json, found.to_dict())
        echo(f'wrote {options.json}')
    if options.csv not in (None, '-'):
        write_text(options.csv, found.to_csv())
        echo(f'wrote {options.csv}')
    if options.plot is not None:
        from ...report import layers_plot

        layers = [(record.layer, record.macs, record.group) for record in found.layers]
        title = f'{found.name}: {found.macs:,} MACs'
        write_bytes(options.plot, layers_plot(layers, title=title, suffix=Path(options.plot).suffix))
        echo(f'wrote {options.plot}')
