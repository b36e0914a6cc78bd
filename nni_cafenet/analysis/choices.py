"""Pick a way to read each operator that can be read in several: from all statements, to those of one reading."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..graph import ChannelGraph
from .constraints import Constraints, Ids, Way
from .factors import solved_factors

__all__ = ['Picks', 'next_picks', 'settle']

Picks = Mapping[int, int]
"""The way of each choice, by its number: `Constraints.choices`, then `Constraints.factors`; the first way of others."""


def settle(constraints: Constraints, picks: Picks | None = None) -> Constraints:
    """Return the constraints with what one way of each choice states; the given ones stay as they are."""
    picks = picks or {}
    ways = [choice.ways[picks.get(number, 0)] for number, choice in enumerate(constraints.choices)]
    settled = _with(constraints, ways) if ways else constraints
    if not constraints.factors:
        return settled
    first = len(constraints.choices)
    return _with(
        settled,
        [solved_factors(settled, lambda number: constraints.factors[number].order[picks.get(first + number, 0)])],
    )


def _with(constraints: Constraints, ways: Sequence[Way]) -> Constraints:
    return replace(
        constraints,
        pairs=[*constraints.pairs, *(pair for way in ways for pair in way.pairs)],
        fixed=[*constraints.fixed, *(each for way in ways for each in way.fixed)],
        unverified=[*constraints.unverified, *(each for way in ways for each in way.unverified)],
    )


def next_picks(settled: Constraints, graph: ChannelGraph, failing: Collection[str], picks: Picks) -> Picks | None:
    """Return the picks with the next way for operators about groups that fail; None if there is none.

    Cuts and reshapes take turns, cuts first: seldom are both read in the wrong way.

    Parameters
    ----------
    settled
        The constraints of the picks, settled.
    graph
        Their channel graph.
    failing
        Labels of the groups that fail.
    picks
        The picks.
    """
    wrong = [index for index, label in enumerate(graph.labels) if label in failing]
    choices = [
        *((len(choice.ways), choice.dim) for choice in settled.choices),
        *((len(factors.order), np.concatenate(factors.before)) for factors in settled.factors),
    ]
    if not wrong or not choices:
        return None
    component = settled.component_of()
    touched, free = np.zeros(settled.count, dtype=bool), np.zeros(settled.count, dtype=bool)
    for name, indices in graph.dims.items():
        for dim, index in zip(settled.parameters[name].dims, indices):
            if dim is not None and index is not None:
                groups = graph.layouts[index].groups
                touched[component[dim[np.isin(groups, wrong)]]] = True
                free[component[dim[groups >= 0]]] = True

    def matters(number: int, dim: Ids) -> bool:
        """Whether it touches what fails, or was read in a way that fixes all its positions."""
        return bool(touched[component[dim]].any() or (number in picks and not free[component[dim]].any()))

    more = {
        number: picks.get(number, 0) + 1
        for number, (ways, dim) in enumerate(choices)
        if picks.get(number, 0) + 1 < ways and matters(number, dim)
    }
    cuts = {number: way for number, way in more.items() if number < len(settled.choices)}
    reshapes = {number: way for number, way in more.items() if number >= len(settled.choices)}
    turn = max(cuts.values(), default=0) <= max(reshapes.values(), default=0)
    following = (cuts or reshapes) if turn else (reshapes or cuts)
    return {**picks, **following} if following else None
