"""One case of the proof: its searches, its trainings, its table."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from nni_cafenet import Evolution
from nni_cafenet.search.budget import Budget
from nni_cafenet.stages.folder import keep_settings
from nni_cafenet.utils.files import write_json
from nni_cafenet.utils.tables import as_markdown

from .arms import FLOOR, count_for, random_widths, short_trainings, supernet_search
from .figures import difference_cells, interval, mean_and_spread
from .records import Records
from .task import Task, evaluate, train_from_scratch

TEMPERATURES = (1.0, 2.0, 3.0)
RUNGS = (4, 2, 1)
"""Each round of the rival trains for a share of the steps: one of these numbers."""

CONTROLS = ('well-shaped', 'over-trained')
"""Cases without rivals."""

UNIFORM, SUPERNET, RANDOM, RIVAL = 'uniform', 'supernet search', 'random', 'short trainings'


class Case:
    """One task: its searches, its trainings and its table."""

    headers = ('network', 'mean MACs', 'test accuracy (%)', 'to uniform', '95 % interval', 'better than uniform')

    def __init__(self, task: Task, options: argparse.Namespace, folder: Path) -> None:
        self.task = task
        self.options = options
        self.folder = folder
        self.space = task.space()
        self.uniform = task.uniform_widths(self.space)
        self.budget = Budget.parse(self.space.macs(self.uniform), self.space)
        keep_settings(folder / 'run.json', self._settings())
        self._searches = Records(folder / 'searches.jsonl', ('arm', 'seed'))
        self._trainings = Records(folder / 'trainings.jsonl', ('widths', 'seed'))

    def _settings(self) -> dict[str, Any]:
        """Return what makes two runs comparable; more seeds may be added, nothing else may change."""
        task, options = self.task, self.options
        return {
            'network': task.network.describe(),
            'uniform': list(self.uniform.values()),
            'pictures': [task.size, task.train, task.heldout, task.supernet_images],
            'steps': [task.steps, task.supernet_steps],
            'widths': options.widths,
            'threads': options.threads,
        }

    @property
    def arms(self) -> list[str]:
        """What is compared to uniform."""
        ranked = [f'{SUPERNET}, ranked at T={t:g}' for t in TEMPERATURES]
        if self.task.name in CONTROLS:
            return [SUPERNET, *ranked]
        rivals = [RANDOM, *([RIVAL] if self.options.rivals else [])]
        return [SUPERNET, *ranked, *rivals]

    def run(self) -> None:
        """Do what has not been done."""
        seeds = range(self.options.supernet_seeds)
        jobs = [(seed, arm) for seed in seeds for arm in (UNIFORM, *self.arms)]
        for seed, arm in tqdm(jobs, desc=self.task.name, mininterval=5):
            widths = self.widths(arm, seed)
            for number in range(self.options.training_seeds):
                self.accuracy(widths, 1000 * (seed + 1) + number)

    def widths(self, arm: str, seed: int) -> dict[str, int]:
        """Return the network of an arm."""
        if arm == UNIFORM:
            return self.uniform
        if arm == RANDOM:
            return random_widths(self.space, self.budget, 1, seed)[0]
        record = self.search(arm.partition(',')[0], seed)
        temperature = arm.partition('T=')[2]
        return record['best_at'][temperature] if temperature else record['widths']

    def search(self, arm: str, seed: int) -> Mapping[str, Any]:
        """Return the record of a search."""

        def run() -> dict[str, Any]:
            if arm == RIVAL:
                rungs = [self.task.steps // share for share in RUNGS]
                count = count_for(self.task, self.search(SUPERNET, seed)['seconds'], rungs)
                return short_trainings(self.task, seed, count, rungs)
            working = self.folder / f'supernet-{seed}'
            return supernet_search(
                self.task,
                seed,
                working,
                search=Evolution(population=self.options.widths // 10, generations=10),
                temperatures=TEMPERATURES,
            )

        return self._searches.get_or_run({'arm': arm, 'seed': seed}, run)

    def accuracy(self, widths: Mapping[str, int], seed: int) -> float:
        """Return the test accuracy of some widths, trained from scratch; in percent."""
        return float(self.training(widths, seed)['accuracy'])

    def training(self, widths: Mapping[str, int], seed: int) -> Mapping[str, Any]:
        """Return the record of a training from scratch."""

        def run() -> dict[str, Any]:
            pictures = self.task.pictures()
            model = train_from_scratch(self.task, self.space, widths, seed)
            accuracy, loss = evaluate(model, *pictures.test)
            return {'accuracy': accuracy, 'loss': loss, 'heldout_loss': evaluate(model, *pictures.heldout)[1]}

        return self._trainings.get_or_run({'widths': list(widths.values()), 'seed': seed}, run)

    # --- the table --------------------------------------------------------------------------------

    def means(self, arm: str) -> list[float]:
        """Return the mean accuracy over training seeds, one number a supernet seed."""
        numbers = range(self.options.training_seeds)
        return [
            float(np.mean([self.accuracy(self.widths(arm, seed), 1000 * (seed + 1) + number) for number in numbers]))
            for seed in range(self.options.supernet_seeds)
        ]

    def report(self) -> str:
        """Return the table and what was measured; writes the numbers behind them."""
        base = self.means(UNIFORM)
        results = {arm: self._result(arm, base) for arm in (UNIFORM, *self.arms)}
        write_json(self.folder / 'results.json', results)
        rows = [self._cells(arm, result) for arm, result in results.items()]
        return '\n'.join([f'### {self.task.name}', '', *self._facts(), '', as_markdown(self.headers, rows)])

    def _cells(self, arm: str, result: Mapping[str, Any]) -> list[str]:
        """Return a row of the table."""
        macs = f'{np.mean(result["macs"]):,.0f}'
        return [arm, macs, mean_and_spread(result['accuracy']), *difference_cells(result['difference'])]

    def _result(self, arm: str, base: Sequence[float]) -> dict[str, Any]:
        """Return the numbers behind a row."""
        means = self.means(arm)
        differences = [] if arm == UNIFORM else [a - b for a, b in zip(means, base)]
        macs = [self.space.macs(self.widths(arm, seed)) for seed in range(self.options.supernet_seeds)]
        return {'accuracy': means, 'difference': differences, 'interval': interval(differences), 'macs': macs}

    def _facts(self) -> Iterator[str]:
        yield from self._settings_facts()
        yield self._supernet_fact()
        if RIVAL in self.arms:
            records = [self.search(RIVAL, seed) for seed in range(self.options.supernet_seeds)]
            counts = mean_and_spread([each['count'] for each in records])
            yield f'{self._seconds_fact(RIVAL)}, {counts} networks at the start'

    def _settings_facts(self) -> Iterator[str]:
        """Yield where it was measured, and on what."""
        task, options = self.task, self.options
        yield (
            f'- {platform.machine()}, {os.cpu_count()} cores, {options.threads} thread(s), Python '
            f'{platform.python_version()}, torch {torch.__version__}'
        )
        yield (
            f'- network {task.network.describe()}, '
            f'{self.space.macs(self.space.full_widths):,} MACs; budget: the {self.space.macs(self.uniform):,} MACs of '
            f'{"-".join(map(str, self.uniform.values()))}; random widths use at least {100 * FLOOR:.0f} % of it'
        )
        images = task.supernet_images or task.train
        yield (
            f'- {options.supernet_seeds} supernets of {task.supernet_steps:,} steps on {images:,} pictures, searches of '
            f'{options.widths} widths on {task.heldout:,} held-out pictures; each network trained {options.training_seeds} '
            f'times for {task.steps} steps'
        )

    def _supernet_fact(self) -> str:
        records = [self.search(SUPERNET, seed) for seed in range(self.options.supernet_seeds)]
        used = [each['temperature'] for each in records]
        return f'{self._seconds_fact(SUPERNET)}, winners scored at temperature {min(used):.2f} to {max(used):.2f}'

    def _seconds_fact(self, arm: str) -> str:
        seconds = [self.search(arm, seed)['seconds'] for seed in range(self.options.supernet_seeds)]
        return f'- {arm}: {mean_and_spread(seconds)} s of processor time'
