"""Consent to run code named in a file or folder (``--trust``)."""

from __future__ import annotations

import argparse
from collections.abc import Container, Iterator
from pathlib import Path

from ...errors import ConfigurationError, ConsentError
from ..config import Configuration
from ..loading import CodeName
from ..recipes import NETWORKS

__all__ = ['add_trust', 'refuse_without_consent']

_FIELDS = {
    'model.name': 'model',
    'data.source': 'data',
    'training.loss': 'loss',
    'training.metric': 'metric',
}
_OWN, _RECIPES = 'nni_cafenet.testing', 'nni_cafenet.cli.recipes'


def add_trust(parser: argparse._ActionsContainer, what: str) -> None:
    """Add the option ``--trust``."""
    parser.add_argument('--trust', action='store_true', help=f'run the code that {what} names (models, data, losses)')


def refuse_without_consent(
    configuration: Configuration, *, typed: Container[str], place: str | Path, trusted: bool
) -> None:
    """Raise if a file or folder (``place``) names code, before any of it is imported, unless it is ``trusted``.

    Fields ``typed`` on the command line need no consent. The ConsentError lists the code.
    """
    found = [] if trusted else [*_named_code(configuration, typed)]
    if found:
        lines = '\n'.join(f'  {line}' for line in found)
        raise ConsentError(
            f'{str(place)!r} asks for code that this command does not name; none of it has run:\n{lines}\n'
            'If you trust its source, add --trust.'
        )


def _named_code(configuration: Configuration, typed: Container[str]) -> Iterator[str]:
    for path, kind in _FIELDS.items():
        spec = configuration[path]
        if not isinstance(spec, str) or path in typed:
            continue
        name = CodeName(spec, kind, ConfigurationError)
        if name.is_one and not _is_harmless(kind, spec):
            place, _, attribute = spec.rpartition(':')
            how = 'runs the file' if place.endswith('.py') else 'imports'
            yield f'{kind} {spec!r}: {how} {place}, calls {attribute}'
    if configuration['model.unpickle'] and 'model.unpickle' not in typed:
        for kind in ('name', 'weights'):
            file = configuration[f'model.{kind}']
            if Path(str(file)).is_file():
                what = 'model' if kind == 'name' else kind
                yield f'{what} {file!r}: loads a pickled object, which runs whatever it names'


def _is_harmless(kind: str, spec: str) -> bool:
    """Whether a name refers to torchvision, this package or a data folder, not to user code."""
    place, _, attribute = spec.rpartition(':')
    if kind == 'data':
        from ..data import names_code

        return not names_code(spec)
    if kind != 'model':
        return False
    if place == _OWN:
        from ... import testing

        return attribute in testing.__all__
    if place == _RECIPES:
        return attribute in NETWORKS
    if place.split('.')[:2] != ['torchvision', 'models']:
        return False
    from ..loading import torchvision_name

    return torchvision_name(spec) is not None
