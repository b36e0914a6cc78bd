"""The searcher interface, a coroutine that yields widths and receives their scores; and random search."""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from ..utils import check_number, check_whole_number
from .budget import Budget, FloatArray, WidthDomain
from .sampling import LevelSpace, new_rows, sample_levels
from .uniform import uniform_levels

__all__ = ['Proposals', 'RandomSearch', 'Searcher', 'read_fitness']

_DEFAULT_TOTAL = 800

Proposals = Generator[list[dict[str, int]], list[float], None]


class Searcher(ABC):
    """Proposes widths within a budget; others score them and keep the history.

    A subclass stores every argument of its constructor in an attribute of the same name; text form, equality
    and :meth:`to_dict` follow from that. It has no other state: a search lives in its coroutine alone.

    Examples
    --------
    >>> proposals = RandomSearch(100).propose(domain, budget, numpy.random.default_rng(0))
    >>> batch = next(proposals)
    >>> while batch is not None:
    ...     try:
    ...         batch = proposals.send([score(widths) for widths in batch])
    ...     except StopIteration:
    ...         batch = None
    """

    @property
    @abstractmethod
    def total(self) -> int:
        """The largest number of proposed widths; a search of a small space may end earlier."""

    def at_most(self, total: int) -> Searcher:
        """Return the searcher with at most ``total`` proposals, if their number was left open; else itself."""
        return self

    @abstractmethod
    def propose(self, domain: WidthDomain, budget: Budget, rng: np.random.Generator) -> Proposals:
        """Run a search: a generator that yields widths to be scored and is sent their scores.

        Parameters
        ----------
        domain : WidthDomain
            The space of widths.
        budget : Budget
            No proposal exceeds it.
        rng : numpy.random.Generator
            The only source of randomness. With the same state and scores the proposals are the same, so a search resumes
            by running again on the recorded scores.

        Yields
        ------
        list of dict of str to int
            A batch of ``{label: width}``: never empty, nothing that was proposed before. Expects a list of one fitness for
            each, in order; higher is better, NaN (failed) counts as the worst.

        Raises
        ------
        ValueError
            If the number of scores differs from that of the widths.
        """

    def to_dict(self) -> dict[str, Any]:
        """Copies of the constructor's arguments: ``type(s)(**s.to_dict()) == s``."""
        return {name: copy.deepcopy(getattr(self, name)) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        arguments = ', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())
        return f'{type(self).__name__}({arguments})'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Searcher) or type(other) is not type(self):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # the attributes can change


class RandomSearch(Searcher):
    """Random widths near the budget: CafeNet-R (Su et al. 2021, search).

    Parameters
    ----------
    n : int, optional
        Number of widths, the uniformly scaled network of the budget among them. Default: 800; in a run, fewer if the
        search would cost more than the training of the supernet (see `CafeNet`).
    floor : float
        Smallest share of the budget that a proposal uses, 0..1, as far as the space allows; our reading of
        BCNetV2 (candidates within 0.8 B..B).
    batch : int
        Widths per batch, without effect on the widths themselves.

    Raises
    ------
    ValueError
        If an option is not allowed.
    """

    def __init__(self, n: int | None = None, *, floor: float = 0.8, batch: int = 50) -> None:
        self.n = None if n is None else check_whole_number('n', n, 1)
        self.floor = check_number('floor', floor, 0, 1)
        self.batch = check_whole_number('batch', batch, 1)

    @property
    def total(self) -> int:
        """The largest number of proposed widths: ``n``."""
        return _DEFAULT_TOTAL if self.n is None else self.n

    def at_most(self, total: int) -> RandomSearch:
        """Return the searcher with ``n`` at most ``total``, if it was left open; else itself."""
        n = max(1, min(self.total, total)) if self.n is None else self.n
        return RandomSearch(n, floor=self.floor, batch=self.batch)

    def propose(self, domain: WidthDomain, budget: Budget, rng: np.random.Generator) -> Proposals:
        """Run a search; see :meth:`Searcher.propose`. Scores are ignored."""
        space = LevelSpace(domain, budget)
        seen: set[bytes] = set()
        uniform = uniform_levels(space)[None]
        uniform = uniform[new_rows(uniform, seen)]
        widths = space.as_dicts(np.concatenate([uniform, sample_levels(space, self.total - 1, rng, self.floor, seen)]))
        for first in range(0, len(widths), self.batch):
            batch = widths[first : first + self.batch]
            read_fitness((yield batch), len(batch))


def read_fitness(scores: Sequence[float], count: int) -> FloatArray:
    """Scores as float64 (count,), NaN as minus infinity; a ValueError if there are more or fewer."""
    fitness: FloatArray = np.array(scores, np.float64)
    if fitness.shape != (count,):
        raise ValueError(f'{fitness.size} scores were sent, {count} widths were proposed; send a list of one for each')
    fitness[np.isnan(fitness)] = -np.inf
    return fitness
