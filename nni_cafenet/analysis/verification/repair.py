"""Does the model pass once attributes of its modules follow the widths?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...graph import ChannelGraph
from .attribute_search import AttributeSearch, Run

__all__ = ['repaired_graph']

_MOST = 12
"""Most places of a model's code, one after the other, at which attributes are searched."""

Sets = Mapping[str, Any]


def repaired_graph(
    search: AttributeSearch,
    graph: ChannelGraph,
    failed_sets: Sets | None,
    redraw: Callable[[], Sets],
    run: Callable[[Sets], Run],
    failure: Callable[[ChannelGraph], tuple[str | None, Sets | None]],
) -> ChannelGraph | None:
    """Let more and more attributes follow widths until the model passes; None if it never does.

    Only after an error at ``failed_sets``: without one the model computed something else, which no attribute explains.
    What helps there must help at other sets too (``redraw``), where sizes agree by chance no longer.
    """
    for _ in range(_MOST):
        if failed_sets is None:
            return None
        found = search.advance(graph, run(failed_sets), run(redraw()))
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
