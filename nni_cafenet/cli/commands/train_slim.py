"""``nni-cafenet train-slim``: retrain the networks of a finished run."""

from __future__ import annotations

import argparse
from typing import Any

from ...errors import ConfigurationError
from ...options import TrainingRecipe
from ...utils import absolute_path
from ..config import Given, add_flags, given_flags
from .consent import refuse_without_consent
from .console import echo, loading
from .job_options import SOURCES, resume_hint
from .network_option import add_network, chosen

__all__ = ['add']

_DESCRIPTION = """\
Train the slim network of a finished run: from scratch, which shows what its widths are worth, or further from the
weights that it has. Model, data and recipe are those of the run unless an option overrides them.
"""

_EXAMPLES = """\
examples:
  nni-cafenet train-slim out --epochs 100                                   from scratch, on the data of the run
  nni-cafenet train-slim out --from inherited --epochs 30 --lr 0.0003       more fine-tuning
  nni-cafenet train-slim out --data imagefolder:./more --epochs 100 --seed 1
  nni-cafenet train-slim family --network 50% --epochs 100                  one network of several
  nni-cafenet train-slim out --which searched uniform full --seed 1         what nni-cafenet compare shows, by another seed

The trained networks are in RUN/trained/FROM-SEED: widths.json, slim.pt, result.json. Interrupted, the same command resumes.
Exit status: 0 done, 1 failed, 2 bad arguments or bad input, 130 interrupted.
"""

_EPOCHS = 'training.finetune_epochs'
_KINDS = ('result', 'searched', 'uniform', 'full')
_FIELDS = (
    'data.source',
    'data.batch_size',
    'data.workers',
    'data.validation',
    *(f'training.{each.name}' for each in TrainingRecipe.options()),
    'training.loss',
    'training.metric',
    'seed',
    'device',
    'devices',
    'nodes',
    'strategy',
    'precision',
)


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        'train-slim',
        usage='nni-cafenet train-slim RUN --epochs N [options]',
        help='train the slim network of a finished run, from scratch or further from its weights',
        description=f'{_DESCRIPTION}\n{SOURCES}\n',
        epilog=_EXAMPLES,
    )
    add_network(parser)
    parser.add_argument('--epochs', metavar='N', dest=_EPOCHS, nargs=1, help='epochs (default: those of the run)')
    parser.add_argument(
        '--from',
        dest='start',
        choices=('fresh', 'inherited'),
        default='fresh',
        help='fresh weights, or those of the network (default: %(default)s)',
    )
    parser.add_argument(
        '--which',
        nargs='+',
        choices=_KINDS,
        default=['result'],
        help='the result of the run; of a search also: the best of the search, the uniformly scaled network, the full one '
        '(default: result)',
    )
    parser.add_argument('--output', metavar='DIR', help='folder of the training (default: RUN/trained/FROM-SEED)')
    add_flags(parser, _FIELDS)
    parser.set_defaults(run=_run, stopped=resume_hint)


def _run(options: argparse.Namespace) -> int:
    from ..jobs import JobFolder, SavedNetwork, with_whole_paths

    job = JobFolder(options.folder)
    record = job.load()
    if options.start == 'inherited' and options.which != ['result']:
        raise ConfigurationError('--which: only the result of the run has weights to inherit; omit --from, or --which')
    networks = chosen(SavedNetwork.all_of(job), options.network) if 'result' in options.which else []
    given = given_flags(options)
    if _EPOCHS in given:  # the option's name in this command
        given[_EPOCHS] = Given('--epochs', given[_EPOCHS].value)
    refuse_without_consent(
        record.configuration.overridden(given), typed=given, place=options.folder, trusted=options.trust
    )
    asked = with_whole_paths(record.configuration.overridden(given)).with_values(
        # The model of the run, regardless of the data; the slim networks have the weights.
        model__args=dict(record.arguments),
        model__unpickle=options.trust and record.configuration['model.unpickle'],
        model__classes=None,
        model__weights=None,
        model__input=list(record.input),
    )
    if asked[_EPOCHS] < 1:
        raise ConfigurationError('--epochs: the run has no such setting; give 1 or more')
    folder = absolute_path(options.output or job.path / 'trained' / f'{options.start}-{asked["seed"]}')
    with loading():
        from ...ranks import is_first, on_all
        from ..jobs import other_networks, prepare_job, run_slim_training, start_devices, trainings_table

        start_devices(asked, echo)

        for kind in (each for each in _KINDS[1:] if each in options.which):
            networks += other_networks(job, kind)
        prepared = on_all(lambda: prepare_job(asked, echo))
        results = []
        for network in networks:
            echo(f'training {network.name or "the slim network"} from {options.start} weights')
            target = folder / network.name
            results.append(run_slim_training(prepared, record, network, target, inherited=options.start == 'inherited'))
    if not is_first():
        return 0
    print(trainings_table(results))
    echo(f'widths.json, slim.pt and result.json in {", ".join(str(each.folder) for each in results)}')
    return 0
