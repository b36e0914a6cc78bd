"""Evolutionary search of widths (CafeNet-E), with one function per step of a generation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..options import SearchOptions
from ..utils import check_number
from .budget import Budget, FloatArray, IntArray, WidthDomain
from .knapsack import Knapsack
from .sampling import LevelSpace, move_within, new_rows, sample_levels
from .searcher import Proposals, Searcher, read_fitness
from .uniform import uniform_levels

__all__ = ['Evolution', 'binary_tournament', 'polynomial_mutation', 'survivors', 'two_point_crossover']

UNIFORM = 'uniform'
_UNIFORM_RATIOS = (0.9, 0.7, 0.5, 0.35, 0.25)
_POPULATION, _GENERATIONS = 40, 20
_RETRIES = 4  # mutations of a duplicate before a fresh sample replaces it


class Evolution(Searcher):
    """Single-objective genetic search: CafeNet-E (Su et al. 2021, search).

    In each generation, parents are chosen by binary tournament, crossed at two points and mutated; their
    children are repaired into the budget, and replaced if they were proposed before; the best of parents and
    children survive. These are the steps of the same authors' code, a single-objective NSGA-II with
    population x generations of 40 x 80 for MobileNetV2 and 50 x 20 for ResNet-50; the repair is our choice.

    Parameters
    ----------
    population : int, optional
        Widths in a generation, 2 or more. The uniformly scaled network of the budget is in the first one. Default: 40.
    generations : int, optional
        Generations to score, the first (random) one included: ``population * generations`` widths in all. Default: 20.
        In a run, what is left open becomes smaller if the search would cost more than the training of the supernet (see
        `CafeNet`).
    initial : sequence, or 'uniform', optional
        What the first generation starts from: widths ``{label: width}``, a `Knapsack` (its widths under the budget of the
        search), or ``'uniform'``: networks with all groups scaled alike, to 0.9, 0.7, 0.5, 0.35 and 0.25 of their width. At
        most ``population`` widths in all, moved into the budget if they are outside; the rest is random. BCNet starts from
        the widths with the lowest losses seen in training.
    crossover_probability : float
        Crossover probability of two parents, 0..1; otherwise the children start as copies. Our choice.
    mutation_probability : float, optional
        Mutation probability of each group of a child, 0..1. Default: 1 / groups. Our choice.
    eta : float
        Distribution index of the mutation, 0 or more: the larger, the smaller the changes. Our choice.
    floor : float
        Smallest share of the budget that a proposal uses, 0..1, as far as the space allows; our reading of
        BCNetV2 (candidates within 0.8 B..B).

    Raises
    ------
    ValueError
        If an option is not allowed; when the search starts, also if ``initial`` is not of the space.
    """

    def __init__(
        self,
        population: int | None = None,
        generations: int | None = None,
        *,
        initial: Sequence[Mapping[str, int] | Knapsack | str] | str | None = None,
        crossover_probability: float = 0.9,
        mutation_probability: float | None = None,
        eta: float = 3.0,
        floor: float = 0.8,
    ) -> None:
        self.population = SearchOptions.check('population', population)
        self.generations = SearchOptions.check('generations', generations)
        self.initial = _checked_initial(initial)
        self.crossover_probability = check_number('crossover_probability', crossover_probability, 0, 1)
        self.mutation_probability = (
            None if mutation_probability is None else check_number('mutation_probability', mutation_probability, 0, 1)
        )
        self.eta = check_number('eta', eta, 0)
        self.floor = check_number('floor', floor, 0, 1)
        self._population = _POPULATION if self.population is None else self.population
        self._generations = _GENERATIONS if self.generations is None else self.generations
        if isinstance(self.initial, list) and len(self.initial) > self._population:
            raise ValueError(
                f'initial has {len(self.initial)} widths: allowed are at most population={self._population}; '
                f'give fewer or a larger population'
            )

    @property
    def total(self) -> int:
        """The largest number of proposed widths: ``population * generations``."""
        return self._population * self._generations

    def at_most(self, total: int) -> Evolution:
        """Return the searcher with at most ``total`` proposals, as far as their number was left open.

        Population and generations keep their proportion of two to one. The population holds ``initial``.
        """
        population, generations = self._population, self._generations
        if self.total > total:
            least = max(2, len(self.initial)) if isinstance(self.initial, list) else 2
            if self.population is None:
                wanted = max(1, math.isqrt(total // 2)) if self.generations is None else generations
                population = min(population, max(least, total // wanted))
            if self.generations is None:
                generations = min(generations, max(1, total // population))
        options: dict[str, Any] = {**self.to_dict(), 'population': population, 'generations': generations}
        return type(self)(**options)

    def propose(self, domain: WidthDomain, budget: Budget, rng: np.random.Generator) -> Proposals:
        """Run a search; see :meth:`Searcher.propose`. Each batch is a generation."""
        space = LevelSpace(domain, budget)
        seen: set[bytes] = set()
        parents = self._first_generation(space, seen, rng)
        fitness = read_fitness((yield space.as_dicts(parents)), len(parents))
        for _ in range(self._generations - 1):
            children = self._children(space, parents, fitness, seen, rng)
            if len(children) == 0:
                return  # all widths within the budget were proposed
            scores = read_fitness((yield space.as_dicts(children)), len(children))
            candidates, fitness = np.concatenate([parents, children]), np.concatenate([fitness, scores])
            best = survivors(fitness, self._population)
            parents, fitness = candidates[best], fitness[best]

    def _first_generation(self, space: LevelSpace, seen: set[bytes], rng: np.random.Generator) -> IntArray:
        """Initial levels (population, groups), added to ``seen``."""
        given = move_within(space, self._initial_levels(space), self.floor, rng)
        given = given[new_rows(given, seen, self._population)]
        uniform = uniform_levels(space)[None]
        given = np.concatenate([given, uniform[new_rows(uniform, seen, self._population - len(given))]])
        drawn = sample_levels(space, self._population - len(given), rng, self.floor, seen)
        return np.concatenate([given, drawn])

    def _initial_levels(self, space: LevelSpace) -> IntArray:
        rows: list[IntArray] = [np.empty((0, len(space.labels)), np.int64)]
        for each in [UNIFORM] if self.initial == UNIFORM else self.initial or []:
            if isinstance(each, Knapsack):
                rows.append(each.levels(space)[None])
            elif isinstance(each, Mapping):
                rows.append(space.from_dicts([each], 'initial'))
            else:
                rows.append(np.stack([space.uniform(ratio) for ratio in _UNIFORM_RATIOS]))
        return np.concatenate(rows)

    def _children(
        self,
        space: LevelSpace,
        parents: IntArray,
        fitness: FloatArray,
        seen: set[bytes],
        rng: np.random.Generator,
    ) -> IntArray:
        """New levels (population, groups), added to ``seen``; fewer if the space is exhausted."""
        half = -(-self._population // 2)
        chosen = parents[binary_tournament(fitness, 2 * half, rng)]
        crossed = two_point_crossover(chosen[:half], chosen[half:], self.crossover_probability, rng)
        probability = self.mutation_probability
        if probability is None:
            probability = 1 / max(1, len(space.labels))
        pending, kept = crossed[: self._population], []
        for _ in range(1 + _RETRIES):
            pending = polynomial_mutation(pending, space.counts, probability, self.eta, rng)
            pending = move_within(space, pending, self.floor, rng)
            new = new_rows(pending, seen)
            kept.append(pending[new])
            pending = pending[~new]
        kept.append(sample_levels(space, len(pending), rng, self.floor, seen))
        return np.concatenate(kept)


def _checked_initial(initial: Any) -> list[dict[str, int] | Knapsack | str] | str | None:
    what = f'widths {{label: int}}, a Knapsack, or {UNIFORM!r}'
    if isinstance(initial, str) and initial != UNIFORM:
        raise ValueError(f'initial={initial!r}: allowed are {what}, or a list of these.')
    if initial is None or isinstance(initial, str):
        return initial
    if not isinstance(initial, (list, tuple)):
        raise TypeError(f'initial={initial!r} must be {what}, or a list of these.')
    wrong = [each for each in initial if not isinstance(each, (Mapping, Knapsack)) and each != UNIFORM]
    if wrong:
        raise TypeError(f'initial: {wrong[0]!r} is none of {what}.')
    return [dict(each) if isinstance(each, Mapping) else each for each in initial]


def binary_tournament(fitness: FloatArray, count: int, rng: np.random.Generator) -> IntArray:
    """Choose ``count`` indices, each the fitter of two drawn at random; of equals, the first drawn."""
    drawn: IntArray = rng.integers(0, len(fitness), size=(2, count))
    fitter: IntArray = np.where(fitness[drawn[1]] > fitness[drawn[0]], drawn[1], drawn[0])
    return fitter


def two_point_crossover(first: IntArray, second: IntArray, probability: float, rng: np.random.Generator) -> IntArray:
    """Exchange the levels between two random cuts in each pair of parents (N, groups), with the given probability.

    Returns (2 N, groups): the first child of every pair, then the second. A crossed child has a group of each parent.
    """
    pairs, groups = first.shape
    begin = rng.integers(0, max(1, groups), size=(pairs, 1))
    length = rng.integers(1, max(2, groups), size=(pairs, 1))
    # A run of groups that wraps around exchanges the groups outside of the two cuts.
    exchanged = (np.arange(groups) - begin) % groups < length
    exchanged &= rng.random((pairs, 1)) < probability
    return np.concatenate([np.where(exchanged, second, first), np.where(exchanged, first, second)])


def polynomial_mutation(
    levels: IntArray, counts: IntArray, probability: float, eta: float, rng: np.random.Generator
) -> IntArray:
    """Deb's bounded polynomial mutation, rounded to integers: mostly small changes, never out of bounds.

    A level represents the interval of length 1 around it, so rounding may leave it unchanged. The larger the
    distribution index ``eta``, the smaller the changes.
    """
    place: FloatArray = (levels + 0.5) / counts
    chance, power = rng.random(levels.shape), eta + 1
    down = (2 * chance + (1 - 2 * chance) * (1 - place) ** power).clip(0) ** (1 / power) - 1
    up = 1 - (2 * (1 - chance) + (2 * chance - 1) * place**power).clip(0) ** (1 / power)
    moved = np.floor((place + np.where(chance < 0.5, down, up)) * counts).astype(np.int64)
    chosen = rng.random(levels.shape) < probability
    return np.where(chosen, np.clip(moved, 0, counts - 1), levels)


def survivors(fitness: FloatArray, size: int) -> IntArray:
    """Indices of the ``size`` fittest, best first; of equals, the earlier (so a parent before its child)."""
    return np.argsort(-fitness, kind='stable')[:size]
