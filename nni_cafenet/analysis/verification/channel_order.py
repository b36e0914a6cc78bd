"""Does the model notice when the channels of a group change places, everywhere at once?

It must not, even where channels are mixed: normalization, softmax and means do not depend on their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ...graph import ChannelGraph
from .compare import same_but_for_rounding
from .forwards import Forwards
from .overrides import Transform, permuted
from .replay import Decision

__all__ = ['model_ignores_order', 'slices_ignore_order', 'unchanged']


def unchanged(forwards: Forwards, *changes: Transform) -> bool:
    """Whether the full model computes with changed values what it computed at first, but for rounding."""
    if forwards.device.type == 'meta':
        return True
    dtype = forwards.order_precision
    before = forwards.whole(dtype)
    with forwards.replaying(forwards.decisions(dtype)):
        now = forwards.outputs(dtype, *changes)
    return same_but_for_rounding(before, now)


def model_ignores_order(
    forwards: Forwards, graph: ChannelGraph, labels: Sequence[str], rng: np.random.Generator
) -> bool:
    """Whether the full model computes the same with the channels of these groups in a random order."""
    return unchanged(forwards, permuted(graph, labels, rng, forwards.device))


def slices_ignore_order(
    forwards: Forwards,
    graph: ChannelGraph,
    sets: Mapping[str, Any],
    labels: Sequence[str],
    rng: np.random.Generator,
) -> bool:
    """Whether slices compute the same with the channels of these groups in a random order."""
    widths = {group.label: group.width for group in graph.groups if group.label in labels and group.width > 2}
    several = {label: rng.integers(2, width) for label, width in widths.items()}  # a single one has no other place
    sets = {
        **sets,
        **{label: np.sort(rng.choice(widths[label], n, replace=False)) for label, n in several.items()},
    }
    other = permuted(graph, labels, rng, forwards.device, within=sets)
    runs: list[list[Tensor]] = []
    taken: list[Decision] = []
    dtype = forwards.precise
    for change in (None, other):
        with forwards.replaying(taken) as decisions:
            runs.append(forwards.sliced(graph, sets, dtype, change))
        taken = decisions.taken
    return same_but_for_rounding(*runs)
