"""The same questions in training mode, where a model may choose channels, or let them change places.

Without the noise of training (see `NoiselessTraining`). Batch normalization uses its running statistics: deep layers have
few values for small pictures, whose variance may be rounding alone; dividing by it would make rounding as large as outputs.
"""

from __future__ import annotations

import contextlib
import itertools
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
from .noiseless_training import PHASES, NoiselessTraining
from .random_widths import WRONG_ORDER, RandomWidths

__all__ = ['InTrainingMode']

_logger = logging.getLogger(__name__)


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
            phases = PHASES if forwards.mode.drew else PHASES[:1]
            for phase in itertools.islice(itertools.cycle(phases), max(self.draws, len(phases))):
                if phase != forwards.mode.phase:
                    forwards.forget()
                forwards.mode.phase = phase
                found = self._failure_of_one_draw(graph, labels)
                if found is not None:
                    return f'in training mode, {found}'
        return None

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
        self.mode = NoiselessTraining(statistics=False)
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
