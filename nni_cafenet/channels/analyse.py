"""The whole analysis of a model, in order: trace, restrict, verify."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from torch import nn

from .graph import ChannelGraph
from .grouping import group_channels
from .inputs import ExampleInput
from .selecting import LayerPattern, excluded_parts, restrict
from .telling import check_device
from .ties import tie_attention
from .trace import follow, parameter_names
from .verify import stands, verify, warn_of

__all__ = ['analyse']

_logger = logging.getLogger(__name__)


def analyse(
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
    constraints = follow(model, example, excluded_parts(model, exclude))
    readings = [
        restrict(group_channels(reading, parameter_names(model), example.batch_size), model, include, exclude)
        for reading in (constraints, tie_attention(constraints, model))
        if reading is not None
    ]
    graph = _freest(model, readings, example, constraints.recorded) if check else readings[-1]
    if not graph.groups:
        raise ValueError(
            f'{type(model).__name__} has no channel group that can change:\n{graph.fixed}\n'
            'Include more layers, or build the space from the part of the model whose widths shall be searched.'
        )
    return graph


def _freest(model: nn.Module, readings: Sequence[ChannelGraph], example: ExampleInput, recorded: bool) -> ChannelGraph:
    """Return the reading of a model that real forwards leave the most freedom, verified.

    The first that they confirm as it is counts; what is left of a reading is compared by the MACs that can change.
    """
    if len(readings) == 1:
        return verify(model, readings[0], example, recorded=recorded)
    if stands(model, readings[0], example, recorded=recorded):
        return verify(model, readings[0], example, known=True, recorded=recorded)
    tried = [verify(model, readings[-1], example, quiet=True, recorded=recorded)]
    if tried[0].labels != readings[-1].labels:
        tried.append(verify(model, readings[0], example, quiet=True, recorded=recorded))
    freest = max(tried, key=_macs_that_can_change)
    gone = set(readings[-1 if freest is tried[0] else 0].labels).difference(freest.labels)
    warn_of({record.label: record.reason for record in freest.fixed if record.label in gone})
    return freest


def _macs_that_can_change(graph: ChannelGraph) -> int:
    ones = np.ones_like(graph.full_widths)
    most, least = graph.cost.macs_of(np.array([graph.full_widths, ones]))
    return int(most - least)
