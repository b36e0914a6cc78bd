"""The same questions in training mode, where a model may choose channels, or let them change places.

Without the noise of training (see `Noiseless`). Batch normalization uses its running statistics: deep layers have
few values for small pictures, whose variance may be rounding alone; dividing by it would make rounding as large as outputs.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from torch import nn

from ...errors import first_line
from ...graph import ChannelGraph, ExampleInput
from ...slicing import using_mode
from ...utils import pass_on
from ..model_state import untouched
from .channel_order import model_ignores_order
from .forwards import Forwards
from .macs import CountedForwards
from .noiseless import Noiseless
from .random_widths import WRONG_ORDER, RandomWidths

__all__ = ['InTrainingMode']

_logger = logging.getLogger(__name__)

_ORDERS = 4
"""How many times as often a model is asked whose channels random numbers may order."""


class InTrainingMode(RandomWidths):
    """Asks the questions of `RandomWidths` in training mode."""

    forwards: _TrainingForwards

    def __init__(self, model: nn.Module, graph: ChannelGraph, example: ExampleInput, rng: np.random.Generator) -> None:
        super().__init__(_TrainingForwards(model, graph, example.with_batch_of_two()), graph, rng)
        self._trained_only = set()

    def failure(self, graph: ChannelGraph, labels: list[str]) -> str | None:
        """Say what is wrong with these groups in training mode, at all draws, or None."""
        forwards = self.forwards
        with forwards.running():
            if not forwards.runs:
                return None
            attempt = 0
            while attempt < self._attempts:
                if forwards.mode.drew and attempt != forwards.mode.attempt:
                    forwards.forget()
                    forwards.mode.attempt = attempt
                found = self._failure_of_one_draw(graph, labels)
                if found is not None:
                    return f'in training mode, {found}'
                attempt += 1
        return None

    @property
    def _attempts(self) -> int:
        """Return how often to ask; chance may choose the order that undoes what else the model does."""
        mode = self.forwards.mode
        return _ORDERS * self.draws if mode.orders else max(2, self.draws) if mode.drew else self.draws

    def _failure_of_one_draw(self, graph: ChannelGraph, labels: list[str]) -> str | None:
        try:
            if not model_ignores_order(self.forwards, graph, labels, self.rng):  # of slices, chance may choose the same
                return WRONG_ORDER
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            pass_on(error)
            return f'the model fails with {type(error).__name__}: {first_line(error, 200)}'
        return super().failure(graph, labels)


class _TrainingForwards(Forwards):
    """Forwards in training mode, without its noise."""

    def __init__(self, model: nn.Module, graph: ChannelGraph, example: ExampleInput) -> None:
        super().__init__(model, graph, example, neighbors_apart=True)
        self.mode = Noiseless(statistics=False)
        self.counted = CountedForwards(enabled=False)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with (
            untouched(self.model) as outer,
            using_mode(self.model, training=True),
            untouched(self.model) as state,
            outer.watching() if not self._whole else contextlib.nullcontext(),
        ):
            self._state, self._last_dtype = state, None
            yield

    @cached_property
    def runs(self) -> bool:
        """Whether the model runs in training mode on the example: detectors ask for targets there."""
        try:
            self.whole(None)
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            pass_on(error)
            _logger.info('%s is not verified in training mode: %s', type(self.model).__name__, first_line(error))
            return False
        return True

    def _noise(self) -> contextlib.AbstractContextManager[Any]:
        return self.mode
