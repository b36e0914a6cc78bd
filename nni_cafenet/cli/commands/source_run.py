"""``--from``: the supernet of a finished run, asked something else."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import ConfigurationError, FolderError
from ..config import Configuration, Given
from .console import loading

__all__ = ['add_source', 'configuration_from']


def add_source(parser: argparse._ActionsContainer) -> None:
    """Add the option."""
    parser.add_argument(
        '--from',
        dest='source',
        metavar='RUN',
        help='take supernet, scores and options of a finished run, to search within another budget, with more candidates '
        'or for more finalists; RUN stays as it is, and the new run is in RUN-BUDGET, or in --output',
    )


def configuration_from(options: argparse.Namespace, command: str, given: Mapping[str, Given]) -> Configuration:
    """Return the options of a finished run with those that are given; refuse what needs another supernet."""
    if options.config is not None:
        raise ConfigurationError('--from takes the options of a run, and --config those of a file; give one of them')
    source = Path(options.source)
    if not (source / 'run.json').is_file():  # before torch is imported
        what = 'holds no run' if source.is_dir() else 'is not there'
        raise FolderError(f'--from {options.source}: the folder {what}; give the output folder of a finished run')
    with loading():
        from ..jobs import QUESTIONS, JobFolder, with_whole_paths

        record = JobFolder(source).load()
    if record.command != command:
        raise ConfigurationError(f'--from {source}: is a run of nni-cafenet {record.command}: use that command')
    configuration = with_whole_paths(record.configuration.overridden(given))
    if 'output' not in given:
        configuration = configuration.with_values(output=_next_to(source, given.get('budget')))
    if Path(configuration['output']).resolve() == source.resolve():
        raise ConfigurationError(
            f'--output {configuration["output"]}: is the run of --from, which is not changed; name another'
        )
    different = record.configuration.differences(configuration, without=QUESTIONS)
    if different:
        lines = '\n'.join(f'  {each}' for each in different)
        raise ConfigurationError(f'--from {source}: these options need another supernet; omit --from:\n{lines}')
    return configuration


def _next_to(source: Path, budget: Given | None) -> str:
    """Return the folder of the new run, named by its budget."""
    value = None if budget is None else budget.value
    parts = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    name = '-'.join(map(str, parts)) if all(isinstance(each, (str, int, float)) for each in parts) else 'again'
    return f'{source.absolute()}-{name}'
