"""Candidate readings of a model, and the one that real forwards leave the most freedom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from ..graph import ChannelGraph, ExampleInput
from .attention_ties import tie_around_attention, tie_attention
from .constraints import Constraints
from .verification import confirmed, repaired, verify_groups, warn_of

__all__ = ['candidate_readings', 'cautious_reading', 'freest']


def candidate_readings(constraints: Constraints, model: nn.Module) -> list[Constraints]:
    """Return the readings that could be right, the freest first: the operators alone, then with attention tied."""
    free = replace(constraints, unverified=[]) if constraints.unverified else constraints
    tied = [way(free, model) for way in (tie_attention, tie_around_attention)]
    return [free, *(reading for reading in tied if reading is not None)]


def cautious_reading(constraints: Constraints, model: nn.Module) -> Constraints:
    """Return the reading that no forward needs to confirm: attention tied, unverified cuts fixed."""
    return tie_attention(constraints, model) or constraints


def freest(
    model: nn.Module,
    example: ExampleInput,
    readings: Sequence[Constraints],
    constraints: Constraints,
    group: Callable[[Constraints], ChannelGraph],
) -> ChannelGraph:
    """Return the channel graph of the reading that real forwards leave the most freedom, verified.

    The first that they confirm unchanged, else the first that they confirm once attributes of modules follow the widths,
    else the one with the most MACs that can change after failing groups are fixed.
    """
    graphs: list[ChannelGraph] = []
    for reading in readings:
        graphs.append(group(reading))
        verified = confirmed(model, graphs[-1], example)
        if verified is not None:
            return verified
    for graph in graphs:
        verified = repaired(model, graph, example)
        if verified is not None:
            return verified
    if constraints.unverified:
        graphs.append(group(cautious_reading(constraints, model)))
    tried = [(graph, verify_groups(model, graph, example, quiet=True)) for graph in [*graphs[1:][::-1], graphs[0]]]
    graph, best = max(tried, key=lambda pair: _macs_that_can_change(pair[1]))
    warn_of({record.label: record.reason for record in best.fixed if record not in graph.fixed})
    return best


def _macs_that_can_change(graph: ChannelGraph) -> int:
    ones = np.ones_like(graph.full_widths)
    most, least = graph.cost.macs_of(np.array([graph.full_widths, ones]))
    return int(most - least)
