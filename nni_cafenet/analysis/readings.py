"""Candidate readings of a model, and the one that real forwards leave the most freedom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from torch import nn

from ..graph import ChannelGraph, ExampleInput
from .attention_ties import tie_around_attention, tie_attention, tie_inside_attention
from .choices import Picks, next_picks, settle
from .constraints import Constraints
from .verification import confirmed, repaired, verify_groups, warn_of

__all__ = ['candidate_readings', 'cautious_reading', 'freest']

_MOST_TRIED = 8
"""Readings whose failing groups were found, after which no other is tried."""


def candidate_readings(constraints: Constraints, model: nn.Module) -> list[Constraints]:
    """Return the readings that could be right, the freest first: the operators alone, then with attention tied."""
    free = replace(constraints, unverified=[]) if constraints.unverified else constraints
    tied = [way(free, model) for way in (tie_attention, tie_inside_attention, tie_around_attention)]
    return [free, *(reading for reading in tied if reading is not None)]


def cautious_reading(constraints: Constraints, model: nn.Module) -> Constraints:
    """Return the reading that no forward needs to confirm: attention tied, unverified cuts fixed."""
    return tie_attention(constraints, model) or constraints


def freest(
    model: nn.Module, example: ExampleInput, constraints: Constraints, group: Callable[[Constraints], ChannelGraph]
) -> ChannelGraph:
    """Return the channel graph of the reading that real forwards leave the most freedom, verified.

    The first that they confirm unchanged, else the first that they confirm once attributes of modules follow the widths,
    else the one with the most MACs that can change after failing groups are fixed. Where these groups reach operators that
    can be read otherwise, the other readings are tried as well.

    Parameters
    ----------
    model, example
        The model, and what it is called with.
    constraints
        What the rules stated, not settled.
    group
        Solves settled constraints.
    """
    tried: list[_Tried] = []
    picks: Picks | None = {}
    while picks is not None and len(tried) < _MOST_TRIED:
        settled = settle(constraints, picks)
        readings = candidate_readings(settled, model)
        graphs: list[ChannelGraph] = []
        if len(readings) == 1 and readings[0] is settled and not tried:
            graphs.append(group(settled))
        else:
            found = _confirmed(model, example, readings, group, graphs)
            if found is not None and not tried:
                return found.verified
            if found is not None:
                tried.append(found)
                break
        if settled.unverified:
            graphs.append(group(cautious_reading(settled, model)))
        for graph in [*graphs[1:][::-1], graphs[0]]:
            tried.append(_Tried(graph, verify_groups(model, graph, example, quiet=True)))
        picks = next_picks(readings[0], *tried[-1], picks)
    graph, best = max(tried, key=_freedom)
    warn_of({record.label: record.reason for record in best.fixed if record not in graph.fixed})
    return best


def _confirmed(
    model: nn.Module,
    example: ExampleInput,
    readings: Sequence[Constraints],
    group: Callable[[Constraints], ChannelGraph],
    graphs: list[ChannelGraph],
) -> _Tried | None:
    """Return the first graph that real forwards confirm; None leaves the graphs of all readings in ``graphs``."""
    for reading in readings:
        graphs.append(group(reading))
        verified = confirmed(model, graphs[-1], example)
        if verified is None and reading is readings[0] and _leaves_heads_open(reading):
            verified = repaired(model, graphs[-1], example)
        if verified is not None:
            return _Tried(graphs[-1], verified)
    for graph in graphs:
        verified = repaired(model, graph, example)
        if verified is not None:
            return _Tried(graph, verified)
    return None


def _leaves_heads_open(reading: Constraints) -> bool:
    """Whether a reshape prefers another axis than the last: heads, which other reshapes may count by an attribute."""
    return any(factors.order[0] < len(factors.after) - 1 for factors in reading.factors)


class _Tried(NamedTuple):
    graph: ChannelGraph
    verified: ChannelGraph


def _freedom(tried: _Tried) -> tuple[int, bool]:
    """Rank a reading by the MACs that can change; of equal ones, one without groups that failed."""
    graph = tried.verified
    ones = np.ones_like(graph.full_widths)
    most, least = graph.cost.macs_of(np.array([graph.full_widths, ones]))
    return int(most - least), tried.graph.labels == graph.labels
