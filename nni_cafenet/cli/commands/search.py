"""``nni-cafenet search``: search the widths of a network from fresh weights."""

from __future__ import annotations

import argparse
from functools import partial

from ...utils import suppress_training_logs
from .console import echo
from .job_options import add_job, begin, configuration_of
from .prune import run_prune

__all__ = ['add']

_DESCRIPTION = """\
Search how many channels each layer of a network should have, under a budget:

  1. a supernet of all widths is trained from fresh weights (CafeNet: locally free weight sharing, min-min),
  2. widths within the budget are searched on a held-out part of the training data,
  3. the best ones are trained from scratch.

Without a supernet, --method short-trainings trains --candidates random widths for a few epochs, the better half of
them for more (--halving 2 4 8), and the best ones in full. --finalists 8 --halving 2 4 lets short trainings choose
among the best widths of the supernet. docs/short_trainings.md says when to use which.

A configuration that gives trained weights (model: weights:) is pruned instead, as by `nni-cafenet prune`. The
output folder has the same form. After Ctrl-C or a crash, the same command resumes the run.
"""

_EXAMPLES = """\
examples:
  nni-cafenet search --config examples/search.yaml
  nni-cafenet search --config examples/search.yaml --budget 25% --output small
  nni-cafenet search --model resnet18 --input 1 3 64 64 --data imagefolder:./photos --budget 300M --output out
  nni-cafenet search --from out --budget 25%          the same supernet, another budget: in out-25%
  nni-cafenet search --recipe cifar10/vgg19-199M --data cifar10:./data --output vgg        (nni-cafenet recipes lists all)
  nni-cafenet search --recipe cifar10/vgg19-199M --data cifar10:./data --output try --fraction 0.01
  nni-cafenet search --config examples/search.yaml --method short-trainings --candidates 16 --output short
  nni-cafenet search --model nni_cafenet.testing:SmallResNet --data digits --output out --dry-run > search.yaml

In Python: NasExperiment(space, evaluator, CafeNet(budget='50%')).run().
Exit status: 0 done, 1 failed, 2 bad arguments or bad input, 130 interrupted.
"""


def _run(options: argparse.Namespace) -> int:
    configuration = configuration_of(options, 'search')
    if configuration is None:
        return 0
    if configuration['model.weights'] is not None:
        return run_prune(configuration, options.source)
    prepared = begin('search', configuration, options.source)
    from ...report import write_report
    from ..jobs import report_of, run_search_job

    with suppress_training_logs():
        result = run_search_job(prepared)
        if result is None:  # of a process that only helps
            return 0
        page = write_report(configuration['output'], report_of(prepared, result.found))
    print(result.table)
    for folder in result.found.folders:
        echo(f'widths.json and slim.pt in {folder}')
    echo(f'wrote {page} and report.md beside it')
    return 0


add = partial(
    add_job,
    name='search',
    help='search the widths of a network from fresh weights, or do a job from a file',
    description=_DESCRIPTION,
    epilog=_EXAMPLES,
    run=_run,
)
