"""``nni-cafenet prune``: prune a trained network."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from ...errors import ConfigurationError
from ...utils import suppress_training_logs
from .console import echo
from .job_options import add_job, begin, configuration_of

__all__ = ['add', 'run_prune']

_DESCRIPTION = """\
Make a trained network smaller, under a budget of multiply-accumulates (MACs), parameters or latency:

  1. its channels are put in order of importance, which does not change what it computes,
  2. a supernet of all widths is trained from its weights for a few epochs,
  3. widths within the budget are searched on a held-out part of the training data,
  4. the best ones are fine-tuned with the weights that they inherit.

Without a supernet, --method knapsack chooses widths by importance and exact costs alone, in seconds, and fine-tunes them:
a first answer before the long one.

The output folder then contains widths.json and slim.pt (nni_cafenet.load_slim reads them), and all scored widths;
`nni-cafenet export` and `nni-cafenet report` read it. After Ctrl-C or a crash, the same command resumes the run.
"""

_EXAMPLES = """\
examples:
  nni-cafenet prune --model torchvision.models:resnet18 --weights r18.pt --data imagefolder:./photos --output out
  nni-cafenet prune --model nets.py:small --model-args width=8 --weights small.pt --data cifar10:./cifar --output out
  nni-cafenet prune --model nets.py:small --weights small.pt --data my_data.py:loaders --budget 75% 50% 25% --output family
  nni-cafenet prune --model resnet18 --weights r18.pt --data imagefolder:./photos --budget macs=50% params=5M --output out
  nni-cafenet prune --config job.yaml --method knapsack --output first   without a supernet: widths in seconds
  nni-cafenet prune --from out --budget 25%                          the same supernet, another budget: in out-25%
  nni-cafenet prune --config job.yaml --seed 1 --output out1         a file, and an option that overrides it

In Python: nni_cafenet.prune(model, '50%', train=..., validate=..., example_input=...).
Exit status: 0 done, 1 failed, 2 bad arguments or bad input, 130 interrupted.
"""


def _run(options: argparse.Namespace) -> int:
    configuration = configuration_of(options, 'prune')
    if configuration is None:
        return 0
    name = configuration['model.name']
    of_torchvision = name.startswith('torchvision.') or ':' not in name and not configuration['model.unpickle']
    if of_torchvision and configuration['model.weights'] is None:
        raise ConfigurationError(
            f'model {name!r} has fresh weights, which are not worth keeping; give trained ones by --weights FILE, or '
            'search from fresh weights: nni-cafenet search'
        )
    return run_prune(configuration, options.source)


def run_prune(configuration: Any, source: str | None = None) -> int:
    """Run the job and print its report; ``source`` is the run whose supernet it takes."""
    prepared = begin('prune', configuration, source)
    from ...pruning import Pruned
    from ...ranks import is_first
    from ...report import write_report
    from ..jobs import named_report, run_prune_job

    with suppress_training_logs():
        result = run_prune_job(prepared)
        if not is_first():
            return 0
        members = [result] if isinstance(result, Pruned) else list(result)
        report = named_report(prepared, result.report, members[0].directory)
        page = write_report(configuration['output'], report)
    print(result.report)
    for member in members:
        echo(f'{member.macs:,} MACs, {member.params:,} parameters: widths.json and slim.pt in {member.directory}')
    echo(f'wrote {page} and report.md beside it')
    return 0


add = partial(
    add_job,
    name='prune',
    help='make a trained network smaller, under a budget',
    description=_DESCRIPTION,
    epilog=_EXAMPLES,
    run=_run,
)
