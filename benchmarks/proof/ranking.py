"""How well supernet scores order networks of equal MACs, at several temperatures and for several sharings."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from nni_cafenet import Bilateral, Fixed, LocallyFree
from nni_cafenet.search.searcher import Proposals, Searcher
from nni_cafenet.supernet.sharing import Sharing
from nni_cafenet.utils.files import write_json
from nni_cafenet.utils.tables import as_markdown

from .arms import FLOOR, random_widths, supernet_search
from .case import TEMPERATURES, Case
from .figures import Floats, ceiling, mean_and_spread, tau


@dataclass(frozen=True)
class Kind:
    """One way to train a supernet."""

    name: str
    sharing: Sharing
    channel_sets: int


KINDS = (
    Kind('Fixed()', Fixed(), 1),
    Kind('LocallyFree(1), 2 channel sets', LocallyFree(offset=1), 2),
    Kind('Bilateral(), 2 channel sets', Bilateral(), 2),
)


class Listed(Searcher):
    """Proposes given widths, in their order."""

    def __init__(self, widths: Sequence[dict[str, int]]) -> None:
        self.widths = [dict(each) for each in widths]

    @property
    def total(self) -> int:
        return len(self.widths)

    def propose(self, domain: Any, budget: Any, rng: Any) -> Proposals:
        yield self.widths


def ceiling_of(runs: Floats) -> float:
    """Estimate tau of a perfect score to the mean of some trainings; runs are (widths, seeds)."""
    count = runs.shape[1]
    found = []
    for half in itertools.combinations(range(count), count // 2):
        rest = [seed for seed in range(count) if seed not in half]
        found.append(tau(runs[:, half].mean(1), runs[:, rest].mean(1)))
    return ceiling(float(np.mean(found)))


def ranking_rows(
    scores: Callable[[Kind, int, float | None], Sequence[float]],
    accuracy: Floats,
    loss: Floats,
    seeds: int,
    temperatures: Sequence[float | None],
) -> tuple[list[list[str]], dict[str, dict[str, list[float]]]]:
    """Return the rows of the table, and the numbers behind them.

    Parameters
    ----------
    scores
        Gives the scores (lower is better) of all widths by a kind of supernet, a seed and a temperature; None:
        fitted to each width, the default.
    accuracy, loss
        The truth, (widths, training seeds).
    """
    rows, results = [], {}
    for kind in KINDS:
        for temperature in temperatures:
            found: dict[str, list[float]] = {'tau, accuracy': [], 'tau, loss': [], 'regret': []}
            for seed in range(seeds):
                score = np.asarray(scores(kind, seed, temperature))
                found['tau, accuracy'].append(tau(-score, accuracy.mean(1)))
                found['tau, loss'].append(tau(-score, -loss.mean(1)))
                found['regret'].append(float(accuracy.mean(1).max() - accuracy.mean(1)[score.argmin()]))
            name = f'{kind.name}, ' + ('T fitted' if temperature is None else f'T={temperature:g}')
            rows.append([name, *(mean_and_spread(values) for values in found.values())])
            results[name] = found
    rows.append(['a perfect score, estimated', f'{ceiling_of(accuracy):.2f}', f'{ceiling_of(loss):.2f}', '0'])
    return rows, results


class Ranking(Case):
    """How well scores order networks of equal MACs; the truth is training them."""

    @functools.cached_property
    def listed(self) -> list[dict[str, int]]:
        """The networks that are ordered."""
        return random_widths(self.space, self.budget, self.options.ranked, 0)

    def run(self) -> None:
        """Do what has not been done."""
        jobs = [(widths, 1 + number) for number in range(self.options.ranked_seeds) for widths in self.listed]
        for widths, seed in tqdm(jobs, desc='truth', mininterval=5):
            self.accuracy(widths, seed)
        supernets = [(kind, seed) for seed in range(self.options.supernet_seeds) for kind in KINDS]
        for kind, seed in tqdm(supernets, desc='supernets', mininterval=5):
            self.scores(kind, seed, None)

    def scores(self, kind: Kind, seed: int, temperature: float | None) -> list[float]:
        """Return the score of every network by a supernet, at a temperature; None: fitted to each network."""

        def run() -> dict[str, Any]:
            return supernet_search(
                self.task,
                seed,
                self.folder / 'supernet',
                search=Listed(self.listed),
                temperatures=TEMPERATURES,
                sharing=kind.sharing,
                channel_sets=kind.channel_sets,
            )

        record = self._searches.get_or_run({'arm': kind.name, 'seed': seed}, run)
        column = -1 if temperature is None else 1 + TEMPERATURES.index(temperature)
        found = {tuple(row[0]): row[column] for row in record['scores']}
        return [found[tuple(widths.values())] for widths in self.listed]

    def report(self) -> str:
        """Return the table and what was measured; writes the numbers behind them."""
        seeds = [1 + number for number in range(self.options.ranked_seeds)]
        records = [[self.training(widths, seed) for seed in seeds] for widths in self.listed]
        accuracy, loss = (np.array([[r[key] for r in row] for row in records]) for key in ('accuracy', 'loss'))
        rows, results = ranking_rows(self.scores, accuracy, loss, self.options.supernet_seeds, (None, *TEMPERATURES))
        write_json(self.folder / 'results.json', results)
        means = accuracy.mean(1)
        facts = (
            f'{len(self.listed)} networks of {100 * FLOOR:.0f} to 100 % of {self.space.macs(self.uniform):,} MACs, '
            f'each trained {len(seeds)} times: mean test accuracy {means.min():.2f} to {means.max():.2f} %; '
            f'{self.options.supernet_seeds} supernets of each kind'
        )
        headers = ['order by the score of', 'tau to accuracy', 'tau to loss', 'regret (points)']
        return '\n'.join(['### ranking', '', f'- {facts}', '', as_markdown(headers, rows)])
