"""``nni-cafenet export``: the slim network of a finished run, for other runtimes."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError
from .consent import refuse_without_consent
from .console import check_output_file, echo, loading
from .network_option import add_network, the_network

__all__ = ['add']

_DESCRIPTION = """\
Write the slim network of a finished run as ONNX or TorchScript, and verify the file against the network; or its weights as
safetensors.
"""

_EXAMPLES = """\
examples:
  nni-cafenet export out --onnx slim.onnx --torchscript slim.pt
  nni-cafenet export family --network 50% --onnx half.onnx
  nni-cafenet export received --onnx slim.onnx --trust           run the code that the folder names
  nni-cafenet export out --safetensors slim.safetensors          load_slim reads it beside widths.json, without slim.pt
  nni-cafenet export out/trained/fresh-0 --onnx slim.onnx        a network trained by nni-cafenet train-slim

ONNX needs pip install 'nni-cafenet[onnx]', safetensors 'nni-cafenet[safetensors]'. Files are written atomically.
Exit status: 0 done, 1 failed, 2 bad arguments or bad input, 130 interrupted.
"""


_KINDS = ('onnx', 'torchscript', 'safetensors')
_NEVER_RUN = ('data.source', 'training.loss', 'training.metric')


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        'export',
        usage='nni-cafenet export RUN [--onnx FILE] [--torchscript FILE] [--safetensors FILE]',
        help='write the slim network of a finished run as ONNX, TorchScript or safetensors',
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    add_network(parser)
    parser.add_argument('--onnx', metavar='FILE', help='write an ONNX file')
    parser.add_argument('--torchscript', metavar='FILE', help='write a TorchScript file')
    parser.add_argument(
        '--safetensors', metavar='FILE', help='write the weights as safetensors, the widths as metadata'
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    files = {kind: getattr(options, kind) for kind in _KINDS if getattr(options, kind) is not None}
    if not files:
        raise ConfigurationError('nothing to export: give --onnx FILE, --torchscript FILE or --safetensors FILE')
    for kind, file in files.items():
        check_output_file(f'--{kind}', Path(file))
    record, network = the_network(options)
    refuse_without_consent(record.configuration, typed=_NEVER_RUN, place=options.folder, trusted=options.trust)
    with loading():
        from ...export import export_onnx, export_safetensors, export_torchscript
        from ..loading import InputShape, example_of, load_model

        asked = record.configuration
        make = partial(
            load_model,
            asked['model.name'],
            arguments=record.arguments,
            unpickle=options.trust and asked['model.unpickle'],
        )
        slim = network.load(make)
        example = example_of([InputShape(record.input)], slim)
        for kind, export in (('onnx', export_onnx), ('torchscript', export_torchscript)):
            if kind in files:
                echo(str(export(slim, files[kind], example)))
        if 'safetensors' in files:
            path = export_safetensors(slim, files['safetensors'], network.widths)
            echo(f'{path}: {path.stat().st_size:,} bytes of weights')
    return 0
