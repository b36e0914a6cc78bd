"""What a job would do: its values resolved, and its hours estimated from a few real steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from ...options import COSTS, BudgetSpecs, FinalistOptions
from ...pruning import Recipes
from ...search import Budget
from ...space import WidthMutator, WidthSpace
from ...stages import MOST_FINALISTS, RunOptions, StageContext, StepClock, StepTime, SupernetStage, default_drawn
from ...strategy import LeftOpen
from ...utils import format_count, seeded, suppress_training_logs
from ..config import Configuration
from .job_devices import batch_text, devices_text
from .job_space import space_options
from .prepare import Prepared, prepare_job, search_of, trainer_of
from .training import recipes_of

__all__ = ['prepare_dry_run', 'resolved_lines']

_STEPS = 4


def prepare_dry_run(configuration: Configuration, say: Callable[[str], None]) -> Prepared:
    """Prepare a job with the batches that one of its devices gets."""
    share = math.ceil(configuration['data.batch_size'] / trainer_of(configuration).ranks)
    return prepare_job(configuration.with_values(data__batch_size=share), say)


def resolved_lines(configuration: Configuration, prepared: Prepared) -> Iterator[str]:
    """Yield lines on a job from fresh weights: ``'name: value'``; a few steps are trained, and nothing is written.

    ``prepared`` is that of `prepare_dry_run`.
    """
    asked, recipe = configuration, prepared.recipe
    yield devices_text(trainer_of(asked))
    own = prepared.data.train.batch_size  # loaders of users may keep their batch
    yield batch_text(asked, own if _divisor(asked, prepared) == 1 else asked['data.batch_size'])
    with suppress_training_logs(), seeded(asked['seed']):
        space = WidthMutator(**space_options(asked)).mutate(prepared.make, example_input=prepared.input)
        yield f'learning rate: {recipe.peak_lr:g} ({recipe.optimizer}, {recipe.schedule}), weight decay: {recipe.decay:g}'
        yield f'input: {" x ".join(map(str, prepared.input[1:]))}'
        yield f'full network: {format_count(space.macs(space.full_widths))} MACs'
        smallest = ', '.join(f'{label} {width}' for label, width in space.smallest_widths.items())
        yield f'smallest network: {format_count(space.macs(space.smallest_widths))} MACs ({smallest})'
        macs = []
        for spec in BudgetSpecs.of(asked['budget']):
            limits = Budget.check(spec, space).limits
            macs.append(limits.get('macs', space.macs(space.full_widths)))
            yield f'budget {spec.name}: {", ".join(f"{limit:,} {COSTS[cost]}" for cost, limit in limits.items())}'
        recipes, _ = recipes_of(prepared)
        yield from _hours(asked, prepared, space, recipes, macs)


def _divisor(asked: Configuration, prepared: Prepared) -> int:
    """Return how many loaders like that of a dry run make up that of the job: loaders of users may keep their batch."""
    ranks = trainer_of(asked).ranks
    share = math.ceil(asked['data.batch_size'] / ranks)
    return ranks if ranks > 1 and prepared.data.train.batch_size == share else 1


def _hours(
    asked: Configuration, prepared: Prepared, space: WidthSpace, recipes: Recipes, budgets: list[int]
) -> Iterator[str]:
    divisor = _divisor(asked, prepared)
    scale = divisor / trainer_of(asked).ranks  # of the time of a step
    options = RunOptions.checked(
        channel_sets_per_step=asked['search.channel_sets_per_step'],
        memory=asked['search.memory'],
        holdout=asked['search.holdout'],
        statistics_batches=asked['search.statistics_batches'],
        seed=asked['seed'],
    )
    epochs, trained = asked['training.epochs'], asked['training.finetune_epochs']
    statistics, finalists = asked['search.statistics_batches'], asked['search.finalists']
    number = (MOST_FINALISTS if finalists is None else finalists) if trained else 0
    context = StageContext(
        space,
        recipes.supernet(epochs),
        options,
        FinalistOptions(number=number),
        recipes.slim('Training', trained),
        BudgetSpecs.of(asked['budget']).names,
    )
    left_open = LeftOpen(statistics is None, finalists is None and number > 0)
    sizes = left_open.settled(context, search_of(asked), {})
    yield (
        f'search: {sizes.search.total:,} widths for each budget, {sizes.statistics_batches} statistics batches, '
        f'{sizes.finalists} finalists'
    )
    clock = StepClock(forwards=options.channel_sets_per_step)
    stage = SupernetStage(space, recipes.few_steps(_STEPS, clock), options)
    supernet_steps, heldout_steps = _steps(stage.data.train, divisor), len(stage.data.heldout)
    stage.evaluator.evaluate(space)
    supernet = scale * _timed(clock).whole
    clock = StepClock()
    recipes.few_steps(_STEPS, clock).evaluate(space.slim(space.full_widths, weights=False))
    network = _timed(clock)
    steps = _steps(prepared.data.train, divisor)
    yield f'steps: {supernet_steps:,} an epoch of the supernet, {supernet_steps * epochs:,} in all; {steps:,} of a network'
    yield f'first steps: {supernet:.3g} s for the supernet, {scale * network.whole:.3g} s for the full network'
    shares = [macs / space.macs(space.full_widths) for macs in budgets]
    drawn = asked['search.headroom']
    proposed = sizes.search.total
    widths = proposed + (default_drawn(proposed) if drawn is None else drawn)
    # A device scores its share of the widths, on whole batches.
    scored = widths / divisor * options.channel_sets_per_score * (sizes.statistics_batches * divisor + heldout_steps)
    networks = sizes.finalists + asked['search.baseline']
    parts = {
        'supernet': supernet_steps * epochs * supernet,
        'search': scored * scale * sum(shares) * network.forward,
        'networks': steps * trained * networks * scale * sum(map(network.of_network, shares)),
    }
    if asked['search.full']:
        parts['full network'] = steps * trained * scale * network.whole
    text = ', '.join(f'{name} {_as_hours(value)}' for name, value in parts.items())
    yield f'expected: {_as_hours(sum(parts.values()))} ({text})'


def _steps(loader: Any, divisor: int) -> int:
    """Return the steps of an epoch by batches of ``divisor`` of the loader's."""
    return len(loader) // divisor if loader.drop_last else math.ceil(len(loader) / divisor)


def _as_hours(seconds: float) -> str:
    return f'{seconds / 3600:.3g} h'


def _timed(clock: StepClock) -> StepTime:
    """Return the time of a step; a training that made none has no batches."""
    if clock.time is None:
        raise ValueError('train has no batch: give more data, or a smaller --batch-size.')
    return clock.time
