"""All that `golden.py` takes from inside the package: names that a move or a rename has to touch here, and only here.

The keys of what these functions return are part of the golden hashes: they keep their names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nni_cafenet.cli.quickstart import QuickstartOptions, quickstart
from nni_cafenet.search.budget import Budget

__all__ = ['budget_of', 'graph_fields', 'small_quickstart']


def budget_of(spec: Any, space: Any) -> Any:
    """Read a budget as the strategy does."""
    return Budget.parse(spec, space)


def small_quickstart(folder: Path) -> None:
    """Do the quickstart with as little as it takes."""
    options = QuickstartOptions(supernet_epochs=2, epochs=1, population=4, generations=2, trainings=1)
    quickstart(folder, options, say=print)


def graph_fields(graph: Any, digest: Callable[..., str]) -> dict[str, Any]:
    """Return what a channel graph says, as JSON can hold it, by fields.

    Parameters
    ----------
    graph
        The channel graph.
    digest
        Hashes arrays.
    """
    groups = graph.groups
    layouts = [digest(layout.groups, layout.channels) for layout in graph.layouts]
    dims = {
        name: [None if index is None else layouts[index] for index in indices] for name, indices in graph.dims.items()
    }
    return {
        'labels': list(graph.labels),
        'widths': [group.width for group in groups],
        'producers': [list(group.producers) for group in groups],
        'consumers': [list(group.consumers) for group in groups],
        'other members': [list(group.others) for group in groups],
        'channel mixing': [bool(group.channel_mixing) for group in groups],
        'MACs per channel': [int(group.macs_per_channel) for group in groups],
        'fixed': [[each.label, each.width] for each in graph.fixed],
        'reasons': [[each.label, each.reason] for each in graph.fixed],
        'layouts': dims,
        'attributes': sorted(map(_attribute, graph.attributes), key=repr),
        'produced': [list(each) for each in graph.produced],
        'cuts': [[list(cut.lengths), [_slice(part) for part in cut.parts]] for cut in graph.cuts],
        'value dependent': bool(graph.value_dependent_sizes),
        'trains otherwise': bool(graph.differs_in_training),
        'MACs polynomial': _polynomial(graph, graph.cost.macs),
        'parameters polynomial': _polynomial(graph, graph.cost.params),
    }


def _attribute(each: Any) -> list[Any]:
    span = None if each.span is None else list(each.span)
    return [
        each.module,
        each.name,
        each.parameter,
        each.axis,
        each.divisor,
        each.keys[0] if len(each.keys) == 1 else each.keys or None,
        span,
    ]


def _slice(part: Any) -> list[Any] | None:
    return None if part is None else [part.parameter, part.axis, part.start, part.stop]


def _polynomial(graph: Any, polynomial: Any) -> list[Any]:
    """Return the sum of products in one form, whatever the order of sizes, factors and products."""
    cost = graph.cost
    products = Counter[tuple[str, ...]]()
    sizes = [_size(graph.labels, cost, index) for index in range(len(cost.fixed))]
    for constant, factors in zip(polynomial.constants, polynomial.factors):
        products[tuple(sorted(sizes[factor] for factor in factors if factor >= 0))] += int(constant)
    return sorted([list(factors), constant] for factors, constant in products.items() if constant)


def _size(labels: Any, cost: Any, index: int) -> str:
    weights: Mapping[str, int] = {
        labels[at]: int(cost.weights[index, at]) for at in np.flatnonzero(cost.weights[index])
    }
    vanishes = cost.vanishing is not None and bool(cost.vanishing[index])
    return f'{int(cost.fixed[index])} {sorted(weights.items())} {vanishes}'
