"""The whole analysis of a model, in order: trace, restrict, verify."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from ..graph import ChannelGraph, ExampleInput, LayerPattern, excluded_parts, restrict
from .attention_ties import tie_around_attention, tie_attention
from .constraints import Constraints
from .grouping import group_channels
from .model_state import untouched
from .propagate import follow, parameter_names
from .verification import check_device, confirmed, repaired, verify_groups, warn_of, with_known_batch

__all__ = ['analyze_model']

_logger = logging.getLogger(__name__)


def analyze_model(
    model: nn.Module,
    example: ExampleInput,
    *,
    include: Sequence[LayerPattern] | None = None,
    exclude: Sequence[LayerPattern] | None = None,
    check: bool = True,
) -> ChannelGraph:
    """Find the channel groups of a model that may and can change.

    Parameters
    ----------
    model
        The model; it is left as it was.
    example
        What it is called with.
    include, exclude
        See `restrict`.
    check
        Hold the result against real forwards.

    Raises
    ------
    ValueError
        If no group is left.
    """
    if check_device(model).type == 'meta':
        _logger.warning(
            '%s is on the meta device and large: shapes are checked at other widths, values are not.',
            type(model).__name__,
        )
    with untouched(model):
        example = with_known_batch(example, model)
        constraints = follow(model, example, excluded_parts(model, exclude))
        names = parameter_names(model)

        def solved(reading: Constraints) -> ChannelGraph:
            return restrict(group_channels(reading, names), model, include, exclude)

        if check:
            graph = _freest(model, constraints, example, solved)
        else:
            graph = solved(tie_attention(constraints, model) or constraints)
    if not graph.groups:
        raise ValueError(
            f'{type(model).__name__} has no channel group that can change:\n{graph.fixed}\n'
            'Include more layers, or build the space from the part of the model whose widths shall be searched.'
        )
    return graph


def _freest(
    model: nn.Module, constraints: Constraints, example: ExampleInput, solved: Callable[[Constraints], ChannelGraph]
) -> ChannelGraph:
    """Return the reading of a model that real forwards leave the most freedom, verified.

    The first that they confirm as it is counts, then the first that they confirm once numbers that modules keep follow the
    widths; what is left of a reading is compared by the MACs that can change.
    """
    free = replace(constraints, unverified=[]) if constraints.unverified else constraints
    tied = [reading for way in (tie_attention, tie_around_attention) if (reading := way(free, model)) is not None]
    if not tied and not constraints.unverified:
        return verify_groups(model, solved(constraints), example)
    readings: list[ChannelGraph] = []
    for reading in (free, *tied):
        readings.append(solved(reading))
        graph = confirmed(model, readings[-1], example)
        if graph is not None:
            return graph
    for each in readings:
        graph = repaired(model, each, example)
        if graph is not None:
            return graph
    if constraints.unverified:
        readings.append(solved(tie_attention(constraints, model) or constraints))
    tried = [(each, verify_groups(model, each, example, quiet=True)) for each in [*readings[1:][::-1], readings[0]]]
    solution, freest = max(tried, key=lambda pair: _macs_that_can_change(pair[1]))
    warn_of({record.label: record.reason for record in freest.fixed if record not in solution.fixed})
    return freest


def _macs_that_can_change(graph: ChannelGraph) -> int:
    ones = np.ones_like(graph.full_widths)
    most, least = graph.cost.macs_of(np.array([graph.full_widths, ones]))
    return int(most - least)
