"""Measurement and output of the networks of a pruning run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..analysis import layer_macs
from ..channel_importance import ChannelOrder
from ..errors import MissingExtraError, TrainingDivergedError
from ..fingerprints import digest, evaluator_record, loader_record
from ..latency import Clock, LatencyOptions, clock_of, time_model
from ..report import CandidateRecord, LayerCost, NetworkRecord, RunReport, loading_lines, write_report
from ..search import Budget, Scored
from ..slim import save_slim
from ..space import WidthSpace
from ..stages import Finalist, RunFolder, computes_numbers, finalist_name, read_curves, taken_reports
from ..strategy import CafeNet
from ..supernet import training_loader, validation_loader
from ..utils import read_record, write_record
from .first_look import KNAPSACK, first_look
from .original_order import in_original_order
from .pruned import Pruned, PrunedFamily
from .training import Recipes

__all__ = ['Results']


@dataclass(frozen=True)
class _Network:
    """A final network of the run."""

    title: str
    role: str
    finalist: Finalist
    model: nn.Module
    finetuned: float | None


@dataclass
class Results:
    """Measures and writes the networks of a finished run; ``measured.json`` in its folder caches measurements."""

    space: WidthSpace
    strategy: CafeNet
    recipes: Recipes
    folder: Path
    original: nn.Module
    order: ChannelOrder
    known: Mapping[str, Any] | None = None
    """The measurements of the process that has written; None: this one measures and writes."""

    def write(self, settings: Mapping[str, str]) -> Pruned | PrunedFamily:
        """Write and return the pruned networks; `settings` are added to those of the strategy in the report."""
        names = self.strategy.budget_names
        best = [self._best(name, budget) for name, budget in zip(names, self.strategy.budgets)]
        models = [self._written(name, network) for name, network in zip(names, best)]
        report = self._report(best, settings)
        if self.known is None:
            write_report(self.folder, report)
        members = tuple(
            Pruned(
                model=model,
                widths=dict(network.finalist.scored.widths),
                macs=network.finalist.scored.macs,
                params=network.finalist.scored.params,
                metric=record.inherited if record.finetuned is None else record.finetuned,
                kept=kept,
                report=report,
                history=self.strategy.history,
                directory=self._folder_of(name),
            )
            for name, network, record, (model, kept) in zip(names, best, report.pruned, models)
        )
        return members[0] if names == [None] else PrunedFamily(members, report)

    def _folder_of(self, name: str | None) -> Path:
        return self.folder if name is None else self.folder / name

    def _written(self, name: str | None, network: _Network) -> tuple[nn.Module, dict[str, torch.Tensor]]:
        scored = network.finalist.scored
        sets = {label: torch.tensor(channels) for label, channels in scored.channel_sets.items()}
        model, kept = in_original_order(self.space, self.order, network.model, scored.widths, sets)
        if not computes_numbers(model, self.space.example_input):
            raise TrainingDivergedError(
                f'The network {network.title} has non-finite weights or outputs. Lower the learning rate of optimizer= '
                'and prune again.'
            )
        if self.known is None:
            costs = {'macs': scored.macs, 'params': scored.params}
            save_slim(model, self._folder_of(name), scored.widths, example_input=self.space.example_input, **costs)
        return model.eval(), kept

    # --- the networks -----------------------------------------------------------------------------

    def _best(self, name: str | None, budget: Budget) -> _Network:
        """Return the best network of a budget."""
        strategy = self.strategy
        title = 'uniform kept' if strategy.keeps_uniform(name) else 'pruned'
        title = title if name is None else f'{title} to {name}' if title == 'pruned' else f'{title} under {name}'
        best = strategy.best_trained(name)
        if best is None:
            scored = strategy.best_within(budget)
            if not scored:
                raise RuntimeError(f'No widths could be scored: see {self.folder / "history.csv"}.')
            finalist = Finalist(finalist_name(1, name), scored[0])
            return _Network(title, 'pruned', finalist, strategy.slim(scored[0]), None)
        return _Network(title, 'pruned', best.finalist, strategy.trained_model(best), best.metric)

    def _baselines(self) -> list[_Network]:
        found = self.strategy.compared()
        return [
            _Network(each.finalist.title, 'baseline', each.finalist, self.strategy.trained_model(each), each.metric)
            for each in found
        ]

    def _first_looks(self) -> list[_Network]:
        """Return the knapsack's networks that the search started from, fine-tuned if they are finalists."""
        knapsack, history = first_look(self.strategy.search), self.strategy.history
        found = []
        for name, budget in zip(self.strategy.budget_names, self.strategy.budgets):
            widths = None if knapsack is None else knapsack.widths(self.space, budget)
            if widths is None or widths not in history:
                continue
            title = 'knapsack (first look)' if name is None else f'knapsack (first look), {name}'
            alike = [
                each
                for each in self.strategy.trained
                if each.finalist.budget == name
                and not each.finalist.is_baseline
                and each.finalist.scored.widths == widths
            ]
            if alike:
                model = self.strategy.trained_model(alike[0])
                found.append(_Network(title, 'baseline', alike[0].finalist, model, alike[0].metric))
            else:
                finalist = Finalist(finalist_name(KNAPSACK, name), history[widths])
                found.append(_Network(title, 'baseline', finalist, self.strategy.slim(history[widths]), None))
        return found

    # --- measurements -----------------------------------------------------------------------------

    def _record(self, network: _Network) -> NetworkRecord:
        scored = network.finalist.scored
        name = f'{network.finalist.name} {digest([scored.widths, scored.channel_sets])}'
        return NetworkRecord(
            network.title,
            network.role,
            dict(scored.widths),
            scored.macs,
            scored.params,
            inherited=self._measured(f'{name}, {self._metric}', lambda: self._validated(self.strategy.slim(scored))),
            finetuned=network.finetuned,
            predicted_ns=self._predicted(scored.widths),
            **self._latency(name, network.model),
            layers=self._layers(network.model),
        )

    def _full(self) -> NetworkRecord:
        space = self.space
        full = space.full_widths
        return NetworkRecord(
            'full',
            'full',
            full,
            space.macs(full),
            space.params(full),
            before=self._measured(f'full, {self._metric}', lambda: self._validated(self.original)),
            predicted_ns=self._predicted(full),
            **self._latency('full', self.original),
            layers=self._layers(self.original),
        )

    def _measured(self, name: str, measure: Callable[[], Any]) -> Any:
        """Return a cached measurement, or measure it; None if another process measures, and has not measured it."""
        if self.known is not None:
            return self.known.get(name)
        known = self.measurements()
        if name not in known:
            known[name] = measure()
            write_record(self._cache, known)
        return known[name]

    def measurements(self) -> dict[str, Any]:
        """Return all cached measurements."""
        return read_record(self._cache, remedy='delete it to measure again') if self._cache.exists() else {}

    @property
    def _cache(self) -> Path:
        return self.folder / 'measured.json'

    @cached_property
    def _metric(self) -> str:
        """Cache key of validation: metric, evaluator and data."""
        evaluator = self.recipes.validation()
        training_loader(evaluator)  # sets up a data module
        asked = [evaluator_record(evaluator), loader_record(validation_loader(evaluator))]
        return f'{self.strategy.metric.name} {digest(asked)}'

    @cached_property
    def _clock(self) -> Clock | None:
        """The clock of networks: that of the latency table; None if the table is from elsewhere."""
        table = self._table
        if table is None:
            return clock_of('torch')
        specs = self.strategy.budget_specs
        threads = next((LatencyOptions.of(each.measured).threads for each in specs if each.latency is not None), None)
        try:
            return clock_of(table.runtime, table.device, threads)
        except (ValueError, MissingExtraError):  # a device, provider or function of another machine
            return None

    @property
    def _batch(self) -> int:
        return 1 if self._table is None else int(self._table.batch)

    def _validated(self, network: nn.Module) -> float | None:
        evaluator = self.recipes.validation()
        evaluator.module.set_model(copy.deepcopy(network).eval())
        data = (
            {'datamodule': evaluator.datamodule} if evaluator.datamodule else {'dataloaders': evaluator.val_dataloaders}
        )
        with taken_reports() as reports:
            logged = evaluator.trainer.validate(evaluator.module, verbose=False, **data)
        values = {name: float(value) for each in logged for name, value in each.items()}
        return self.strategy.metric.value(reports.final, values)

    def _latency(self, name: str, network: nn.Module) -> dict[str, Any]:
        """Return the measured fields of a record."""
        clock = self._clock
        if clock is None:
            return {}
        key = f'{name}, {digest([clock.describe(), self._batch])}'
        times = self._measured(key, lambda: self._timed(clock, network))
        if times is None:
            return {}
        return {'measured_ns': times['median'], 'measured_range': (times['low'], times['high'])}

    def _timed(self, clock: Clock, network: nn.Module) -> dict[str, int]:
        return asdict(time_model(network, self.space.example_input, clock=clock, batch=self._batch))

    def _predicted(self, widths: Mapping[str, int]) -> float | None:
        return None if self._table is None else float(self._table.latency(widths))

    @cached_property
    def _table(self) -> Any:
        """The latency table of the budgets, or None."""
        return next((budget.table for budget in self.strategy.budgets if budget.table is not None), None)

    def _layers(self, network: nn.Module) -> tuple[LayerCost, ...]:
        makes = {layer: group.label for group in reversed(self.space.graph.groups) for layer in group.producers}
        found = layer_macs(network, self.space.example_input)
        return tuple(LayerCost(layer, macs, makes.get(layer)) for layer, macs in found.items())

    # --- the report -------------------------------------------------------------------------------

    def _report(self, best: list[_Network], settings: Mapping[str, str]) -> RunReport:
        strategy, space = self.strategy, self.space
        order = {name: index for index, name in enumerate(strategy.budget_names)}
        trained = sorted(
            [*self._baselines(), *self._first_looks(), *best], key=lambda network: order[network.finalist.budget]
        )
        networks = [self._full(), *map(self._record, trained)]
        chosen = {tuple(sorted(network.finalist.scored.widths.items())) for network in best}
        what = type(self.original).__name__
        budgets = ' and '.join(
            name or budget.describe() for name, budget in zip(strategy.budget_names, strategy.budgets)
        )
        return RunReport(
            title=f'{what} pruned to {budgets}',
            model=what,
            settings={**self._settings(), **settings},
            full_widths=space.full_widths,
            networks=tuple(networks),
            metric=strategy.metric.name,
            metric_higher_is_better=strategy.metric.higher_is_better,
            candidates=tuple(_candidate(scored, chosen) for scored in strategy.history),
            score=strategy.options.score,
            score_higher_is_better=strategy.options.higher_is_better,
            budgets=self._mac_limits(),
            curves=self._curves(),
            findings=tuple(strategy.findings()),
            notes=self._notes(),
            loading=loading_lines(what, folder=strategy.budget_names[0] or '.'),
        )

    def _settings(self) -> dict[str, str]:
        strategy, options = self.strategy, self.strategy.options
        clock = {} if self._clock is None else {'latency measured': f'{self._clock.describe()}, batch {self._batch}'}
        return {
            'budget': '; '.join(budget.describe() for budget in strategy.budgets),
            'search': repr(strategy.search),
            'score': options.score,
            'temperature of scores': _temperatures(strategy.history.temperatures),
            'channel sets': f'{options.channel_sets_per_step} a step, {options.sharing!r}',
            'seed': str(options.seed),
            **clock,
        }

    def _mac_limits(self) -> dict[str, int]:
        pairs = zip(self.strategy.budget_specs, self.strategy.budgets)
        return {spec.name: budget.limits['macs'] for spec, budget in pairs if 'macs' in budget.limits}

    def _curves(self) -> dict[str, Any]:
        run = RunFolder(self.folder)
        stages = {'supernet': run.curves}
        stages.update(
            (f'fine-tuning: {each.finalist.title}', run.finalist(each.finalist.folder) / 'curves.jsonl')
            for each in self.strategy.trained
        )
        found = {stage: read_curves(path) for stage, path in stages.items()}
        return {stage: {name: tuple(points) for name, points in curves.items()} for stage, curves in found.items()}

    def _notes(self) -> tuple[str, ...]:
        kept = [f'The channels of {label} kept their order: {reason}.' for label, reason in self.order.kept.items()]
        narrowed = set(self.space.labels)  # the width of an embedding, not its number of entries
        fixed = [
            f'{"A dimension of " if each.label in narrowed else ""}{each.label} was not narrowed: {each.reason}.'
            for each in self.space.graph.fixed
        ]
        return (*kept, *fixed)


def _temperatures(found: Sequence[float]) -> str:
    """Describe the temperatures of a history.

    >>> _temperatures([2.0]), _temperatures([0.81, 0.9, 1.07])
    ('2', 'fitted to each width, 0.81 to 1.07')
    """
    if len(found) < 2:
        return ', '.join(f'{each:g}' for each in found)
    return f'fitted to each width, {min(found):.2f} to {max(found):.2f}'


def _candidate(scored: Scored, chosen: set[Any]) -> CandidateRecord:
    return CandidateRecord(scored.macs, scored.params, scored.score, tuple(sorted(scored.widths.items())) in chosen)
