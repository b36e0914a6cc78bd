"""The whole analysis of a model, in order: trace and propagate, group, compare candidate readings, verify."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from torch import nn

from ..graph import ChannelGraph, ExampleInput, LayerPattern, excluded_modules, restrict
from .choices import settle
from .constraints import Constraints
from .grouping import group_channels
from .model_state import untouched
from .propagate import follow, parameter_names
from .readings import cautious_reading, freest
from .verification import check_device, with_known_batch

__all__ = ['analyze_model']

_logger = logging.getLogger(__name__)


def analyze_model(
    model: nn.Module,
    example: ExampleInput,
    *,
    include: Sequence[LayerPattern] | None = None,
    exclude: Sequence[LayerPattern] | None = None,
    constant: Collection[tuple[str, str]] = (),
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
    constant
        Attributes of modules that follow no width, as (module, name): numbers of groups.
    check
        Verify the result with real forwards.

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
        excluded = excluded_modules(model, exclude)
        constraints = follow(model, example, excluded, constant)  # trace the operators, run their rules
        names = parameter_names(model)

        def group(reading: Constraints) -> ChannelGraph:
            return restrict(group_channels(reading, names), model, include, exclude)

        if check:
            graph = freest(model, example, constraints, group)
        else:
            graph = group(cautious_reading(settle(constraints), model))
    if not graph.groups:
        raise ValueError(
            f'{type(model).__name__} has no channel group that can change:\n{graph.fixed}\n'
            'Include more layers, or build the space from the part of the model whose widths shall be searched.'
        )
    return graph
