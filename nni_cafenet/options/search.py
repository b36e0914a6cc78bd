"""Options of the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import kinds
from .record import Record, option

__all__ = ['SearchOptions']


@dataclass(frozen=True, kw_only=True)
class SearchOptions(Record):
    """How widths are searched."""

    method: str = option(
        'evolution',
        kinds.choice('evolution', 'random', 'short-trainings', 'knapsack'),
        'on a supernet: evolution, or random (as many widths); without one: short-trainings of random widths, or the '
        'knapsack of the most important channels of trained weights',
    )
    population: int | None = option(
        None,
        kinds.whole_number(2).or_none(),
        'widths per generation (default: 40; fewer if the search would cost more than the training of the supernet)',
    )
    generations: int | None = option(
        None, kinds.whole_number(1).or_none(), 'generations (default: 20; fewer as for population)'
    )
    candidates: int = option(
        24,
        kinds.whole_number(2),
        'random widths that short-trainings start with, including the uniform one',
        argument='n',
    )
    halving: Sequence[int] | None = option(
        None,
        kinds.epochs().or_none(),
        'epochs of the rungs of successive halving: of the candidates of short-trainings (default 2 4 8); otherwise of the '
        'finalists, before the best of them are trained in full (default: none)',
    )
    keep: float = option(0.5, kinds.number_between(0, 1, open=True), 'share of the networks that reach the next rung')
    floor: float = option(
        0.98, kinds.number_between(0, 1), 'least share of the budget that random widths of short-trainings use'
    )
    headroom: int | None = option(
        None,
        kinds.whole_number(0).or_none(),
        'random widths of equal cost that the uniform network is compared with; 0: none (default: a tenth of the search)',
    )
    full: bool = option(
        False,
        kinds.flag(),
        'train the full network as well, by the same recipe, for comparison; from fresh weights only',
    )
