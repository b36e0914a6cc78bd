"""A metric of the user's validation step on held-out batches, from outputs that a score has computed already."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from ..errors import first_line
from ..supernet import LogCalls, SideEffects
from .logged_means import Logged, Mean, batch_size
from .model_outputs import recorded_outputs, replayed_outputs

__all__ = ['ShownMetric']

_logger = logging.getLogger(__name__)

Step = Callable[[LogCalls, Any, int], Any]
"""``(log, batch, index)``: runs the validation step on a batch, with ``self.log`` replaced."""


class ShownMetric:
    """The metric ``name``, for display beside a loss; a validation step that does not fit gives none.

    The step runs on recorded outputs of ``model``, so it costs no forward. What it changes in ``module`` is undone.
    """

    def __init__(self, name: str | None, module: nn.Module, model: nn.Module, step: Step) -> None:
        self.name = name
        self._module, self._model, self._step = module, model, step
        self._mean = Mean()

    @contextlib.contextmanager
    def of_batch(self, batch: Any, index: int) -> Iterator[None]:
        """Record the outputs of the model in a block that runs it on a batch, and add the metric of the batch."""
        if self.name is None:
            yield
            return
        with recorded_outputs(self._model) as outputs:
            yield
        effects, calls = SideEffects(self._module, exclude=self._model), LogCalls()
        try:
            with replayed_outputs(self._model, outputs):
                self._step(calls, batch, index)
            value = Logged.values_in(calls)[self.name]
            self._mean.add(float(value.compute() if hasattr(value, 'compute') else value), batch_size(batch))
        except Exception as error:  # noqa: BLE001  the user's code
            reason = f'{type(error).__name__}: {first_line(error)}'
            _logger.info(
                '%s is not shown for scored widths: the validation step does not give it (%s).', self.name, reason
            )
            self.name, self._mean = None, Mean()
        finally:
            effects.restore()

    def values(self) -> dict[str, float]:
        """Return ``{name: mean over batches}``; empty if there is none."""
        value = self._mean.value()
        return {self.name: value} if self.name is not None and math.isfinite(value) else {}
