"""Pick a way to read each operator that can be read in several: from all statements, to those of one reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..graph import ChannelGraph
from .constraints import Choice, Constraints

__all__ = ['Picks', 'next_picks', 'settle']

Picks = Mapping[int, int]
"""The way of each choice, by its number in `Constraints.choices`; the first way of others."""


def settle(constraints: Constraints, picks: Picks | None = None) -> Constraints:
    """Return the constraints with what one way of each choice states; the given ones stay as they are."""
    if not constraints.choices:
        return constraints
    picks = picks or {}
    ways = [choice.ways[picks.get(number, 0)] for number, choice in enumerate(constraints.choices)]
    return replace(
        constraints,
        pairs=[*constraints.pairs, *(pair for way in ways for pair in way.pairs)],
        fixed=[*constraints.fixed, *(each for way in ways for each in way.fixed)],
        unverified=[*constraints.unverified, *(each for way in ways for each in way.unverified)],
    )


def next_picks(settled: Constraints, graph: ChannelGraph, verified: ChannelGraph, picks: Picks) -> Picks | None:
    """Return the picks with the next way for all choices about groups that failed; None if there is none.

    Parameters
    ----------
    settled
        The constraints of the picks, settled.
    graph, verified
        Their channel graph, and the same without the groups that failed.
    picks
        The picks.
    """
    wrong = [index for index, label in enumerate(graph.labels) if label not in verified.labels]
    if not wrong or not settled.choices:
        return None
    component = settled.component_of()
    touched = np.zeros(settled.count, dtype=bool)
    for name, indices in graph.dims.items():
        for dim, index in zip(settled.parameters[name].dims, indices):
            if dim is not None and index is not None:
                touched[component[dim[np.isin(graph.layouts[index].groups, wrong)]]] = True
    more = {
        number: picks.get(number, 0) + 1
        for number, choice in enumerate(settled.choices)
        if _has_more(choice, picks.get(number, 0)) and touched[component[choice.dim]].any()
    }
    return {**picks, **more} if more else None


def _has_more(choice: Choice, pick: int) -> bool:
    return pick + 1 < len(choice.ways)
