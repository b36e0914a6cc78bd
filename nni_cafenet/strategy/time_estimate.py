"""Work that is left of a run, in forwards of a batch, from which `stages/time_left.py` estimates the time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..options import FinalistOptions
from ..ranks import splits_batches
from ..search import Budget, Searcher, uniform_within
from ..stages import RunFolder, StageContext, Work, Workload, default_drawn, training_batches

__all__ = ['work_left']

_DRAWS = 20
_VERSIONS = 8
"""Fuller versions of each of the best widths that are scored at the end (see `EqualCost`)."""


def work_left(
    context: StageContext, folder: RunFolder, search: Searcher, budgets: Sequence[Budget], drawn: int | None
) -> Work | None:
    """Return what is left of a run; None if its data have no length that is known.

    Forwards cost as their MACs do: those of scores and finalists as the uniform network of a budget. Processes that share
    out each batch have all its steps, at a share of its cost; others have their share of the steps. In both cases they
    share out the widths, which are scored on whole batches.
    """
    stage = context.supernet
    options, space, work = stage.options, stage.space, Workload.of(stage)
    if work.heldout is None:
        return None
    rng = np.random.default_rng(0)
    samples = [options.training.sampling.draw(space, rng) for _ in range(_DRAWS)]
    mean = np.mean([space.macs(widths) for drawn_widths in samples for widths in drawn_widths])
    share = float(np.mean([space.macs(uniform_within(budget)) for budget in budgets]) / mean)
    fewer = 1 if splits_batches(stage.trainer) else stage.trainer.world_size
    steps = training_batches(stage.trainer, stage.data.train)
    batches = context.finalist_batches() if context.finalists.trainings else 0
    number, total = context.finalists.number, search.total
    proposed = total + (default_drawn(total) if drawn is None else drawn) + min(_VERSIONS * max(1, number), total // 10)
    scored = sum(1 for _ in folder.history.open('rb')) if folder.history.exists() else 0
    done = len(list(folder.path.glob('finalists/*/result.json')))
    return Work(
        steps=None if steps is None else steps / fewer,
        networks=len(samples[0]),
        forwards=len(samples[0]) * options.channel_sets_per_step,
        width=work.channel_sets * max(1, options.statistics_batches + work.heldout) * share / fewer,
        widths=0 if folder.searched else max(0, len(budgets) * proposed - scored),
        scored=scored,
        finalist=None if batches is None else batches / fewer,
        share=share,
        finalists=max(0, len(budgets) * _trainings(context.finalists, context.finalist_epochs) - done),
    )


def _trainings(options: FinalistOptions, epochs: int) -> float:
    """Return the number of trainings of a budget; a short one counts by its share of the epochs."""
    full = options.trainings - options.short_trainings
    if options.halving is None:
        return full
    sizes = options.halving.sizes(options.candidates)
    short = sum(size * each for size, each in zip(sizes, options.halving.epochs))
    return full + short / max(1, epochs)
