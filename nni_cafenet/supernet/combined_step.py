"""A training step with several channel sets that all count: their mean, or a soft minimum."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from .combination import Combination
from .min_step import MinStep, StepFunctions, StepResult, undo
from .side_effects import SideEffects
from .step_output import loss_of, sum_of, with_loss

__all__ = ['CombinedStep']


class CombinedStep:
    """Runs a step with all channel sets on the same state and random numbers, and combines their losses.

    It keeps all graphs. Side effects and logs are those of the channel set with the smallest loss.
    """

    def __init__(self, min_step: MinStep, combination: Combination) -> None:
        self._min_step = min_step
        self._combination = combination

    def __call__(self, sets: Sequence[dict[str, Tensor]], steps: StepFunctions) -> tuple[StepResult, list[float]]:
        """Run the step with each of several channel sets.

        Returns the result with the smallest loss, with the combined loss in its output, and all losses.
        """
        before, results = SideEffects(self._min_step.module), list[StepResult]()
        for channel_sets in sets:
            if results:
                undo(before)
            results.append(self._min_step.run(channel_sets, steps))
            results[-1].after = before.snapshot()
        losses = [result.loss for result in results]
        best = min(results, key=lambda result: math.inf if math.isnan(result.loss) else result.loss)
        if best.after is not None:
            best.after.restore()
        steps.activate(best.channel_sets)
        weighed = [(result, weight) for result, weight in zip(results, self._combination.weights(losses)) if weight]
        if weighed:
            best.output = with_loss(
                best.output, sum_of([weight * loss_of(result.output) for result, weight in weighed])
            )
            best.loss = sum(weight * result.loss for result, weight in weighed)
        return best, losses
