"""Which MACs does no rule count?"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...graph import ChannelGraph, Polynomial
from .draw import random_channel_sets
from .forwards import Forwards
from .macs import flop_counter, without_fused_attention

__all__ = ['costs_otherwise', 'with_unmodeled_macs']

_logger = logging.getLogger(__name__)


def costs_otherwise(graph: ChannelGraph, forwards: Forwards) -> bool:
    """Whether the last forward on slices took other MACs than the cost model expects, what no rule counts aside.

    A size that the code leaves open (-1) may take up channels that are left out, without an error: heads become rows.
    """
    return len({_unmodeled(graph, *each) for each in forwards.counted.of_one_sample()}) > 1


def with_unmodeled_macs(graph: ChannelGraph, forwards: Forwards, rng: np.random.Generator) -> ChannelGraph:
    """Add the MACs of operators that no rule counts, if they are the same at every width."""
    if not graph.groups:
        return graph
    differences = [_unmodeled(graph, *each) for each in forwards.counted.of_one_sample()]
    if not differences or any(differences):
        differences = _measured(graph, forwards, rng)
    if len(set(differences)) > 1:
        _logger.warning('The counted MACs and the cost model differ by %d and %d at two widths.', *differences)
    if min(differences) <= 0:
        return graph
    macs = graph.cost.macs
    degree = macs.factors.shape[1]
    constant = Polynomial(
        np.append(macs.constants, min(differences)),
        np.vstack([macs.factors, np.full((1, degree), -1, dtype=np.int64)]),
    )
    return replace(graph, cost=replace(graph.cost, macs=constant))


def _measured(graph: ChannelGraph, forwards: Forwards, rng: np.random.Generator) -> list[int]:
    """Count the MACs of forwards of one sample with torch's counter; return what the cost model does not know."""
    sets = random_channel_sets(graph, graph.labels, rng)
    differences = []
    for chosen in ({},) if forwards.recorded else ({}, sets):
        counter = flop_counter()
        with without_fused_attention():
            forwards.run_slices(graph, chosen, forwards.example.with_batch(1), watch=counter)
        differences.append(_unmodeled(graph, chosen, counter.get_total_flops() // 2))
    return differences


def _unmodeled(graph: ChannelGraph, chosen: Mapping[str, Any], macs: int) -> int:
    widths = [len(chosen.get(group.label, range(group.width))) for group in graph.groups]
    return macs - int(graph.cost.macs_of(np.array([widths], dtype=np.int64))[0])
