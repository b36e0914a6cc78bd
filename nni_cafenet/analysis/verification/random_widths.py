"""The questions about one draw of random widths, in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import first_line
from ...graph import ChannelGraph
from ...slicing import using_mode
from ...utils import pass_on
from ..running_modules import running_modules
from .channel_order import model_ignores_order, slices_ignore_order
from .draw import random_channel_sets
from .forwards import Forwards
from .masks import slices_agree_with_zeros

__all__ = ['WRONG_ORDER', 'RandomWidths']

_CHEAP = 10**9
"""MACs of the example input below which every question is asked at three draws of widths, not at one."""

WRONG_ORDER = 'its channels do not stand where the analysis thinks'


class RandomWidths:
    """Asks whether a model runs, and computes the right thing, at random widths.

    Attributes
    ----------
    draws
        How many draws a group has to pass. One may hide a wrong order of channels, if its sets are the same in both orders.
    failed_sets
        The channel sets at which the last draw raised an error, else None.
    failed_in
        The innermost module whose code raised it, else None.
    """

    def __init__(self, forwards: Forwards, graph: ChannelGraph, rng: np.random.Generator) -> None:
        self.forwards = forwards
        self.rng = rng
        self.failed_sets: Mapping[str, Any] | None = None
        self.failed_in: str | None = None
        macs = int(graph.cost.macs_of(graph.full_widths[None])[0]) if graph.groups else 0
        self.draws = 3 if macs * forwards.example.batch_size < _CHEAP else 1
        self._channel_mixing = {group.label for group in graph.groups if group.channel_mixing}
        self._trained_only = {group.label for group in graph.groups if group.macs_per_channel == 0}
        self._traced_attributes = graph.attributes

    def failure(self, graph: ChannelGraph, labels: list[str]) -> str | None:
        """Say what is wrong with these groups at one draw of widths, or None."""
        self.failed_sets = self.failed_in = None
        sets = random_channel_sets(graph, labels, self.rng)
        try:
            return self._failure(graph, sets)
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            pass_on(error)
            self.failed_sets = sets
            self.failed_in = next(iter(running_modules(error, self.forwards.model)), None)
            name = type(error).__name__
            return f'at another width the model fails with {name}: {first_line(error, 200, name)}'

    def _failure(self, graph: ChannelGraph, sets: dict[str, Any]) -> str | None:
        forwards = self.forwards
        mixed = [label for label in sets if label in self._channel_mixing]
        if mixed:
            with forwards.counted.counting(sets):
                forwards.run_slices(graph, sets, forwards.example)
            if not model_ignores_order(forwards, graph, mixed, self.rng):
                return WRONG_ORDER
            # A number that equals a width by chance may follow it now, and put slices into wrong places.
            repaired = graph.attributes != self._traced_attributes and forwards.device.type != 'meta'
            if repaired and not slices_ignore_order(forwards, graph, sets, mixed, self.rng):
                return WRONG_ORDER
        if not self._trained_only.isdisjoint(sets):
            with using_mode(forwards.model, training=True):
                forwards.run_slices(graph, sets, forwards.example.with_batch_of_two())
        unmixed = {label: chosen for label, chosen in sets.items() if label not in self._channel_mixing}
        agree = None
        if not forwards.recorded:
            agree = slices_agree_with_zeros(forwards, graph, unmixed, None, last=False)
        if agree is None:
            agree = slices_agree_with_zeros(forwards, graph, unmixed, forwards.precise, last=True)
        return None if agree else 'at another width the network computes something else'
