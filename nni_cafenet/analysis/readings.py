"""Candidate readings of a model, and the one that real forwards leave the most freedom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from torch import nn

from ..graph import ChannelGraph, ExampleInput
from .attention_ties import tie_around_attention, tie_attention, tie_inside_attention, tie_multihead_attention
from .choices import Picks, next_picks, settle
from .constraints import Constraints
from .verification import DeadEnds, confirmed, repaired, verify_groups, warn_of

__all__ = ['candidate_readings', 'cautious_reading', 'freest']

_ENOUGH = 0.9
"""Share of the MACs of the freest reading that must stay free for another one to be taken without a search."""

_MOST_TRIED = 8
"""Readings whose failing groups were found, after which no other is tried."""


def candidate_readings(constraints: Constraints, model: nn.Module) -> list[Constraints]:
    """Return the readings that could be right, the freest first: the operators alone, then with attention tied."""
    free = replace(constraints, unverified=[]) if constraints.unverified else constraints
    free = tie_multihead_attention(free, model) or free
    tied = [
        tie_attention(free, model, by_hand=True),
        tie_inside_attention(free, model),
        tie_around_attention(free, model, by_hand=True),
    ]
    return [free, *(reading for reading in tied if reading is not None)]


def cautious_reading(constraints: Constraints, model: nn.Module) -> Constraints:
    """Return the reading that no forward needs to confirm: attention tied, unverified cuts fixed."""
    return tie_attention(constraints, model) or constraints


def freest(
    model: nn.Module, example: ExampleInput, constraints: Constraints, group: Callable[[Constraints], ChannelGraph]
) -> ChannelGraph:
    """Return the channel graph of the reading that real forwards leave the most freedom, verified.

    The first that they confirm unchanged, else the first that they confirm once attributes of modules follow the widths or
    operators near each failure are read otherwise, else the one with the most MACs that can change after failing groups are
    fixed. Where these groups reach operators that can be read otherwise, the other readings are tried as well.

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
    dead_ends: DeadEnds = set()
    picks: Picks | None = {}
    while picks is not None and len(tried) < _MOST_TRIED:
        settled = settle(constraints, picks)
        readings = candidate_readings(settled, model)
        graphs: list[ChannelGraph] = []
        if len(readings) == 1 and readings[0] is settled and not tried:
            graphs.append(group(settled))
        else:
            found, suspects = _confirmed(model, example, readings, group, graphs, dead_ends)
            if found is None and not tried:
                found = _confirmed_otherwise(model, example, constraints, group, graphs[0], suspects, dead_ends)
            if found is not None and not tried:
                return found.verified
            if found is not None:
                tried.append(found)
                break
        if settled.unverified:
            graphs.append(group(cautious_reading(settled, model)))
        for graph in [*graphs[1:][::-1], graphs[0]]:
            tried.append(_Tried(graph, verify_groups(model, graph, example, quiet=True, dead_ends=dead_ends)))
        found_last = tried[-1]
        failing = set(found_last.graph.labels) - set(found_last.verified.labels)
        picks = next_picks(readings[0], found_last.graph, failing, picks)
    graph, best = max(tried, key=_freedom)
    warn_of({record.label: record.reason for record in best.fixed if record not in graph.fixed})
    return best


def _confirmed(
    model: nn.Module,
    example: ExampleInput,
    readings: Sequence[Constraints],
    group: Callable[[Constraints], ChannelGraph],
    graphs: list[ChannelGraph],
    dead_ends: DeadEnds,
) -> tuple[_Tried | None, list[str]]:
    """Return the first graph that real forwards confirm, else None and where the first reading fails.

    None leaves the graphs of all readings in ``graphs``.
    """
    suspects: list[str] = []
    for reading in readings:
        graphs.append(group(reading))
        verified = confirmed(model, graphs[-1], example)
        if verified is None and reading is readings[0] and _leaves_heads_open(reading):
            verified, _ = repaired(model, graphs[-1], example, dead_ends=dead_ends)
        if verified is not None:
            return _Tried(graphs[-1], verified), []
    for graph in graphs:
        verified, places = repaired(model, graph, example, dead_ends=dead_ends)
        if verified is not None:
            return _Tried(graph, verified), []
        suspects = places if graph is graphs[0] else suspects
    return None, suspects


def _confirmed_otherwise(
    model: nn.Module,
    example: ExampleInput,
    constraints: Constraints,
    group: Callable[[Constraints], ChannelGraph],
    graph: ChannelGraph,
    suspects: list[str],
    dead_ends: DeadEnds,
) -> _Tried | None:
    """Return the first graph that real forwards confirm as the operators about suspects are read otherwise, step by step.

    This spares the search for the failing groups, most often: the code that raises an error is where a cut is misread.
    """
    picks: Picks = {}
    reading, freest_one = candidate_readings(settle(constraints), model)[0], graph
    for _ in range(_MOST_TRIED):
        following = next_picks(reading, graph, suspects, picks)
        if following is None:
            break
        picks = following
        reading = candidate_readings(settle(constraints, picks), model)[0]
        graph = group(reading)
        verified, suspects = repaired(model, graph, example, dead_ends=dead_ends)
        if verified is not None:
            return _Tried(graph, verified) if _free_macs(verified) >= _ENOUGH * _free_macs(freest_one) else None
    return None


def _leaves_heads_open(reading: Constraints) -> bool:
    """Whether a reshape prefers another axis than the last: heads, which other reshapes may count by an attribute."""
    return any(factors.order[0] < len(factors.after) - 1 for factors in reading.factors)


class _Tried(NamedTuple):
    graph: ChannelGraph
    verified: ChannelGraph


def _freedom(tried: _Tried) -> tuple[int, bool]:
    """Rank a reading by the MACs that can change; of equal ones, one without groups that failed."""
    return _free_macs(tried.verified), tried.graph.labels == tried.verified.labels


def _free_macs(graph: ChannelGraph) -> int:
    most, least = graph.cost.macs_of(np.array([graph.full_widths, np.ones_like(graph.full_widths)]))
    return int(most - least)
