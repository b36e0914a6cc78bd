"""Random widths and channel sets, at which a model is verified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...graph import ChannelGraph

__all__ = ['random_channel_sets']

_REDRAWS = 20
"""How often a set is drawn until it differs from its mirror image."""


def random_channel_sets(
    graph: ChannelGraph, labels: Sequence[str], rng: np.random.Generator
) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """Return a random channel set of a random width for each of these groups.

    No set is its own mirror image if that can be avoided: such a set would hide a reversed order of channels.
    """
    sets = {}
    for group in graph.groups:
        if group.label in labels:
            for _ in range(_REDRAWS):
                least = group.least_width
                width = int(rng.integers(least, group.width)) if group.width > least else group.width
                chosen = np.sort(rng.choice(group.width, size=width, replace=False)).astype(np.int64)
                if not np.array_equal(chosen, group.width - 1 - chosen[::-1]):
                    break
            sets[group.label] = chosen
    return sets
