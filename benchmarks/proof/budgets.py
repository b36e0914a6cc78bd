"""One supernet for several budgets, against a search by short trainings for each of them, at equal processor time."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from nni_cafenet import Evolution, LatencyTable
from nni_cafenet.search.budget import Budget
from nni_cafenet.utils.files import write_json
from nni_cafenet.utils.tables import as_markdown

from .arms import count_for, run_cafenet, short_trainings
from .case import RIVAL, RUNGS, SUPERNET, UNIFORM, Case
from .figures import difference_cells, interval, mean_and_spread

RATIOS = (0.35, 0.45, 17 / 32, 0.65, 0.8)
"""Shares of every width of the uniform networks whose MACs are the budgets."""

BATCH = 64
"""Pictures at a time of the latency budget: with one alone, a network this small takes about as long at any width."""

ARMS = (UNIFORM, SUPERNET, RIVAL)
PAIRS = ((SUPERNET, UNIFORM), (RIVAL, UNIFORM), (SUPERNET, RIVAL))


@dataclass(frozen=True)
class Goal:
    """A budget, and the uniform network that uses all of it."""

    name: str
    spec: Any
    budget: Budget
    uniform: dict[str, int]


class Budgets(Case):
    """One supernet, searched under each budget; and as many searches by short trainings."""

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), 'ratios': list(RATIOS), 'batch': BATCH}

    @functools.cached_property
    def goals(self) -> list[Goal]:
        """The budgets; the latency table is measured once, and counts for neither side."""
        goals = []
        for ratio in RATIOS:
            uniform = self.task.network.uniform(self.space, ratio)
            macs = self.space.macs(uniform)
            goals.append(Goal(f'{macs:,} MACs', macs, Budget.parse(macs, self.space), uniform))
        path = self.folder / 'latency.json'
        if not path.exists():
            LatencyTable.measure(self.space, batch=BATCH, threads=self.options.threads, progress=False).save(path)
        limit = LatencyTable.load(path).latency(self.uniform)
        spec = {'latency': f'{limit}ns', 'table': str(path)}
        budget = Budget.parse(spec, self.space, LatencyTable.load(path))
        goals.append(Goal(f'{limit / 1000:,.0f} us, predicted', spec, budget, self.uniform))
        return goals

    def run(self) -> None:
        """Do what has not been done."""
        jobs = [(seed, goal) for seed in range(self.options.supernet_seeds) for goal in range(len(self.goals))]
        for seed, goal in tqdm(jobs, desc=self.task.name, mininterval=5):
            for arm in ARMS:
                self.mean(arm, goal, seed)

    def mean(self, arm: str, goal: int, seed: int) -> float:
        """Return the mean accuracy of an arm's network for a budget over training seeds."""
        widths = self.found(arm, goal, seed)
        seeds = [1000 * (seed + 1) + number for number in range(self.options.training_seeds)]
        return float(np.mean([self.accuracy(widths, each) for each in seeds]))

    def found(self, arm: str, goal: int, seed: int) -> dict[str, int]:
        """Return the network of an arm for a budget."""
        if arm == UNIFORM:
            return self.goals[goal].uniform
        widths = self._supernet(seed)['winners'][goal] if arm == SUPERNET else self._short(goal, seed)['widths']
        return dict(widths)

    def _supernet(self, seed: int) -> Mapping[str, Any]:
        """Return the record of a supernet and its searches under all budgets."""

        def run() -> dict[str, Any]:
            strategy, seconds = run_cafenet(
                self.task,
                self.task.space(),
                seed,
                self.folder / f'supernet-{seed}',
                budget=[goal.spec for goal in self.goals],
                search=Evolution(population=self.options.widths // 10, generations=10),
            )
            winners = [strategy.best_within(goal.budget)[0].widths for goal in self.goals]
            return {'winners': winners, 'scored': len(strategy.history), 'seconds': seconds}

        return self._searches.get_or_run({'arm': SUPERNET, 'seed': seed}, run)

    def _short(self, number: int, seed: int) -> Mapping[str, Any]:
        """Return the record of short trainings for a budget: an equal share of what is left of the supernet's time."""

        def run() -> dict[str, Any]:
            before = sum(self._short(earlier, seed)['seconds'] for earlier in range(number))
            share = (self._supernet(seed)['seconds'] - before) / (len(self.goals) - number)
            rungs = [self.task.steps // each for each in RUNGS]
            goal = self.goals[number]
            count = count_for(self.task, share, rungs, goal.uniform)
            return short_trainings(self.task, 100 * number + seed, count, rungs, goal.uniform, goal.budget)

        return self._searches.get_or_run({'arm': f'{RIVAL}, budget {number}', 'seed': seed}, run)

    # --- the table --------------------------------------------------------------------------------

    def report(self) -> str:
        """Return the table and what was measured; writes the numbers behind them."""
        seeds = range(self.options.supernet_seeds)
        names = [goal.name for goal in self.goals]
        found = {
            arm: np.array([[self.mean(arm, goal, seed) for seed in seeds] for goal in range(len(names))])
            for arm in ARMS
        }
        rows, results = [], {}
        for name, *values in zip([*names, 'mean of all'], *(np.vstack([v, v.mean(0)]) for v in found.values())):
            accuracy = dict(zip(ARMS, values))
            differences = {f'{a} - {b}': list(accuracy[a] - accuracy[b]) for a, b in PAIRS}
            rows.append(
                [
                    name,
                    *(mean_and_spread(list(accuracy[arm])) for arm in ARMS),
                    *(f'{cells[0]} ({cells[1]})' for cells in map(difference_cells, differences.values())),
                ]
            )
            results[name] = {
                'accuracy': {arm: list(each) for arm, each in accuracy.items()},
                'difference': differences,
                'interval': {pair: interval(each) for pair, each in differences.items()},
            }
        write_json(self.folder / 'results.json', results)
        headers = ['budget', *ARMS, *(f'{a} - {b}' for a, b in PAIRS)]
        return '\n'.join([f'### {self.task.name}', '', *self._facts(), '', as_markdown(headers, rows)])

    def _facts(self) -> Iterator[str]:
        yield from self._settings_facts()
        seeds = range(self.options.supernet_seeds)
        supernets = [self._supernet(seed) for seed in seeds]
        short = [[self._short(goal, seed) for goal in range(len(self.goals))] for seed in seeds]
        yield (
            f'- {SUPERNET}: {mean_and_spread([each["seconds"] for each in supernets])} s of processor time for all '
            f'budgets, {mean_and_spread([each["scored"] for each in supernets])} widths scored'
        )
        totals = [sum(each['seconds'] for each in row) for row in short]
        counts = [each['count'] for row in short for each in row]
        yield (
            f'- {RIVAL}: {mean_and_spread(totals)} s of processor time for all budgets, {mean_and_spread(counts)} networks '
            'at the start for each budget'
        )
        yield f'- predicted latency: one thread, {BATCH} pictures at a time; its table counts for neither side'
