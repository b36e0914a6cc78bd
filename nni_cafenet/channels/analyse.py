"""The whole analysis of a model, in order: trace, restrict, verify."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .graph import ChannelGraph
from .inputs import ExampleInput
from .selecting import LayerPattern, excluded_parts, restrict
from .trace import trace
from .verify import verify

__all__ = ['analyse']


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
    graph = restrict(trace(model, example, excluded_parts(model, exclude)), model, include, exclude)
    if check:
        graph = verify(model, graph, example)
    if not graph.groups:
        raise ValueError(
            f'{type(model).__name__} has no channel group that can change:\n{graph.fixed}\n'
            'Include more layers, or build the space from the part of the model whose widths shall be searched.'
        )
    return graph
