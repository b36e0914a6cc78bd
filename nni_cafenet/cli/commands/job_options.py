"""Options and start of jobs, shared by ``prune`` and ``search``."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import CafeNetError, ConfigurationError, ConsentError
from ...ranks import Launched
from ...utils import absolute_path
from ..config import (
    Configuration,
    add_flags,
    given_flags,
    list_missing_files,
    list_outputs_in_the_way,
    set_fields,
    with_fraction,
)
from ..data import FORMS
from .consent import add_trust, refuse_without_consent
from .console import check_output_file, command_line, echo, loading
from .source_run import add_source, configuration_from

if TYPE_CHECKING:
    from ..jobs import Prepared

__all__ = ['SOURCES', 'add_job', 'begin', 'configuration_of', 'resume_hint']

SOURCES = 'SOURCE of data is one of\n' + '\n'.join(f'  {form:<25} {what}' for form, what in FORMS.items())


def add_job(
    commands: Any, name: str, *, help: str, description: str, epilog: str, run: Callable[[argparse.Namespace], int]
) -> None:
    """Add a command that runs a job."""
    parser = commands.add_parser(
        name,
        usage=f'nni-cafenet {name} --model MODEL --data SOURCE --output DIR [options]\n'
        f'       nni-cafenet {name} --config FILE [options]\n'
        f'       nni-cafenet {name} --from RUN [options]',
        help=help,
        description=f'{description}\n{SOURCES}\n',
        epilog=epilog,
    )
    files = parser.add_argument_group(
        'configuration', 'all options can be given in a YAML file; the command line overrides it'
    )
    files.add_argument('--config', metavar='FILE', help='read the job from a YAML file')
    files.add_argument('--save-config', metavar='FILE', help='write the whole configuration to a YAML file')
    add_source(files)
    add_trust(files, 'the YAML file, or the run of --from,')
    files.add_argument(
        '--set',
        metavar='FIELD=VALUE',
        nargs='+',
        action='extend',
        default=[],
        help='any field of a file: training.epochs=1',
    )
    files.add_argument(
        '--fraction',
        metavar='SHARE',
        type=float,
        help='try the whole job on a share of its data, epochs and widths: 0.01',
    )
    files.add_argument(
        '--dry-run',
        action='store_true',
        help='print the whole configuration as YAML; of a search also what it means for its model and data; start nothing',
    )
    add_flags(parser)
    parser.set_defaults(run=run, stopped=resume_hint)


def configuration_of(options: argparse.Namespace, command: str) -> Configuration | None:
    """Return the checked configuration; None after a dry run."""
    look = () if options.dry_run else (list_missing_files, list_outputs_in_the_way)
    given = {**given_flags(options), **set_fields(options.set)}
    trained = command == 'prune'
    if options.source is not None:
        configuration = configuration_from(options, command, given)
    else:
        configuration = Configuration.checked(options.config, given, trained=trained, more=look)
    if options.fraction is not None:
        if options.source is not None:
            raise ConfigurationError('--fraction tries a whole job, and --from continues one; give one of them')
        configuration = with_fraction(configuration, options.fraction)
    if options.save_config is not None and Launched.here().is_first:
        check_output_file('--save-config', Path(options.save_config))
        from ...utils import write_text

        write_text(options.save_config, configuration.to_yaml())
        echo(f'wrote {options.save_config}')
    if options.dry_run:
        if not Launched.here().is_first:
            return None
        print(configuration.to_yaml(), end='')
        if trained or configuration['model.weights'] is not None:
            _show_devices(configuration)
            return None
    place = options.config or options.source
    if place is not None:
        try:
            refuse_without_consent(configuration, typed=given, place=place, trusted=options.trust)
        except ConsentError as error:
            if not options.dry_run:
                raise
            _comment(f'not resolved: {error}')
            return None
    if options.dry_run:
        _resolve(configuration)
        return None
    return configuration


def _show_devices(configuration: Configuration) -> None:
    """Print devices and batch size of a configuration as comments; data and model are not read."""
    try:
        with loading():
            from ..jobs import batch_text, devices_text, trainer_of

            _comment(devices_text(trainer_of(configuration)))
            _comment(batch_text(configuration, configuration['data.batch_size']))
    except ValueError as error:
        _comment(f'not resolved: {error}')


def _resolve(configuration: Configuration) -> None:
    """Print what a configuration means as comments of its YAML; or why it cannot be known yet."""
    try:
        with loading():
            from ..jobs import prepare_dry_run, resolved_lines

            prepared = prepare_dry_run(configuration, echo)
            for line in resolved_lines(configuration, prepared):
                _comment(line)
    except (CafeNetError, ValueError, TypeError, OSError) as error:
        _comment(f'not resolved: {error}')


def _comment(text: str) -> None:
    print('\n'.join(f'# {line}' for line in text.splitlines()), flush=True)


def begin(command: str, configuration: Configuration, source: str | None = None) -> Prepared:
    """Check the folder, load model and data, and write the job's record."""
    from ..jobs import JobFolder, JobRecord, with_whole_paths

    configuration = with_whole_paths(configuration)
    folder = JobFolder(configuration['output'])
    with loading():
        folder.check(command, configuration)
        from ...ranks import from_first, on_all
        from ..jobs import prepare_job, start_devices

        start_devices(configuration, echo)
        prepared = on_all(lambda: prepare_job(configuration, echo))
    if folder.started:
        echo(f'resuming the run in {folder.path}')
    record = JobRecord(command, configuration, prepared.arguments, prepared.input, prepared.data.classes)
    from_first(lambda: folder.keep(record))
    return prepared if source is None else dataclasses.replace(prepared, source=absolute_path(source))


def resume_hint(options: argparse.Namespace) -> str:
    """Return the message for an interrupted job."""
    return f'Progress is saved; to resume:\n  {command_line(options)}'


def folders_line(folders: Iterable[Path]) -> str:
    """Return a line with the folders of the networks."""
    return f'The smaller network is in {", ".join(str(folder) for folder in folders)}: widths.json and slim.pt.'
