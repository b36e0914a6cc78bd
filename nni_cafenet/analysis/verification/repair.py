"""Does the model pass once numbers that its modules keep follow the widths?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ...graph import ChannelGraph
from .attribute_search import AttributeSearch

__all__ = ['repaired_graph']

_MOST = 12
"""Places of a model's code, one after the other, where numbers of modules are looked for."""

Sets = Mapping[str, Any]


def repaired_graph(
    search: AttributeSearch,
    graph: ChannelGraph,
    failed_sets: Sets | None,
    run: Callable[[Sets, ChannelGraph], object],
    failure: Callable[[ChannelGraph], tuple[str | None, Sets | None]],
) -> ChannelGraph | None:
    """Let more and more numbers of modules follow widths until the model passes; None if it never does.

    Parameters
    ----------
    search
        Finds the numbers.
    graph
        The channel graph with which the model failed.
    failed_sets
        Where it raised an error; None if it computed something else, which no number explains.
    run
        Calls the model on channel sets.
    failure
        Returns what is wrong with another graph, or None, and the channel sets of an error.
    """
    for _ in range(_MOST):
        if failed_sets is None:
            return None
        found = search.advance(graph, partial(run, failed_sets))
        if found is None:
            return None
        problem, sets = failure(found)
        if problem is None:
            return found
        if found is graph:
            return None
        if sets is None:
            search.forbid(found)
        else:
            graph, failed_sets = found, sets
    return None
