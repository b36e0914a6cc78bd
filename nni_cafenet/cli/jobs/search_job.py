"""Search the widths of a network from fresh weights, and train the best ones from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nni.nas.evaluator.pytorch import Lightning
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace

from ...options import Halving
from ...pruning import Recipes
from ...ranks import from_first, is_first, named_lost_ranks
from ...report import NetworkRecord
from ...search import Budget, Scored
from ...slim import save_slim
from ...space import WidthMutator, WidthSpace
from ...stages import MOST_FINALISTS
from ...strategy import CafeNet, RunResult, ShortTrainings
from ...utils import seeded, suppress_training_logs
from ..config import Configuration
from .full_network import train_full
from .job_report import Found, layers_of
from .job_space import space_options
from .prepare import Prepared, search_of
from .training import recipes_of

__all__ = ['SearchResult', 'run_search_job']


@dataclass(frozen=True)
class SearchResult:
    """The results of a search: a table of the networks, and those for the report."""

    table: str
    found: Found


@named_lost_ranks()
def run_search_job(prepared: Prepared) -> SearchResult | None:
    """Run or resume the job; arguments are checked before any training.

    Of several processes, the first one returns the result, and the others None.
    """
    asked = prepared.configuration
    recipes, metric = recipes_of(prepared)
    with suppress_training_logs(), seeded(asked['seed']):
        space = WidthMutator(**space_options(asked)).mutate(prepared.make, example_input=prepared.input)
        strategy, evaluator = _strategy(asked, recipes, metric, prepared.source)
        strategy.initialize(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
        strategy.run()
        saved = []
        if is_first():
            saved = [
                _save(strategy.result, space, Path(asked['output']), name, budget)
                for name, budget in zip(strategy.budget_names, strategy.budgets)
            ]
        from_first(lambda: None)  # the others wait
        value = train_full(prepared, recipes, metric, space)
        if not is_first():
            return None
        networks = [_record(space, 'full', 'full', space.full_widths, prepared, value)]
        networks += [
            _record(space, each.finalist.title, 'baseline', each.finalist.scored.widths, prepared, each.metric)
            for each in strategy.compared()
        ]
        for name, (_, widths, value) in zip(strategy.budget_names, saved):
            kept = strategy.keeps_uniform(name)
            title = 'uniform kept' if kept else 'searched'
            networks.append(
                _record(space, title if name is None else f'{title} within {name}', 'pruned', widths, prepared, value)
            )
        folders = tuple(folder for folder, *_ in saved)
        found = Found('searched within', tuple(networks), folders, strategy.history, metric, tuple(strategy.findings()))
        return SearchResult(strategy.report(), found)


def _strategy(
    asked: Configuration, recipes: Recipes, metric: str, source: Path | None
) -> tuple[CafeNet | ShortTrainings, Lightning]:
    """Return the strategy of a job, and the evaluator of its experiment."""
    epochs, rungs, keep = asked['training.finetune_epochs'], asked['search.halving'], asked['search.keep']
    options = {
        'score': asked['search.score'],
        'holdout': asked['search.holdout'],
        'seed': asked['seed'],
        'finalists': asked['search.finalists'] if epochs else 0,
        'baseline': asked['search.baseline'],
        'metric': metric,
        'directory': asked['output'],
    }
    training = recipes.slim('Training', epochs, ['train_loss', metric])
    if asked['search.method'] == 'short-trainings':
        rungs = (2, 4, 8) if rungs is None else rungs
        last = Halving(rungs, keep).sizes(asked['search.candidates'])[-1]
        options['finalists'] = min(MOST_FINALISTS if options['finalists'] is None else options['finalists'], last)
        return ShortTrainings(asked['budget'], asked['search.candidates'], rungs, keep, **options), training
    strategy = CafeNet(
        asked['budget'],
        channel_sets_per_step=asked['search.channel_sets_per_step'],
        memory=asked['search.memory'],
        ema=asked['training.ema'],
        search=search_of(asked),
        temperature=asked['search.temperature'],
        headroom=asked['search.headroom'],
        statistics_batches=asked['search.statistics_batches'],
        finalist_halving=None if rungs is None or not epochs else Halving(rungs, keep),
        finalist_evaluator=training,
        supernet_from=source,
        **options,
    )
    return strategy, recipes.supernet(asked['training.epochs'])


def _record(
    space: WidthSpace, name: str, role: str, widths: Mapping[str, int], prepared: Prepared, value: float | None = None
) -> NetworkRecord:
    layers = layers_of(space.slim(widths), prepared.input)
    widths = dict(widths)
    return NetworkRecord(name, role, widths, space.macs(widths), space.params(widths), finetuned=value, layers=layers)


def _save(
    result: RunResult, space: WidthSpace, output: Path, name: str | None, budget: Budget
) -> tuple[Path, dict[str, int], float | None]:
    """Write the best network of a budget; return its folder, its widths, and its metric if it was trained."""
    folder = output if name is None else output / name
    trained = result.best_trained(name)
    if trained is None:
        scored = _best_scored(result, budget)
        slim = result.slim(scored)
    else:
        scored = trained.finalist.scored
        slim = result.trained_model(trained)
    costs = {'macs': scored.macs, 'params': scored.params}
    save_slim(slim.cpu(), folder, scored.widths, example_input=space.example_input, **costs)
    return folder, scored.widths, None if trained is None else trained.metric


def _best_scored(result: RunResult, budget: Budget) -> Scored:
    scored = result.best_within(budget)
    if not scored:
        raise RuntimeError('No width could be scored: see history.csv.')
    return scored[0]
