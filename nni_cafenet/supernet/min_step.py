"""The inner minimum of min-min training: a step with each of several channel sets, of which the best one counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from nni.nas.evaluator.pytorch import LightningModule
from torch import Tensor

from ..utils import pass_on
from .graph_memory import GraphMemory
from .side_effects import SideEffects

__all__ = ['LogCalls', 'MinStep', 'StepFunctions', 'StepResult']


class LogCalls:
    """Calls of ``self.log``, deferred until their channel set has won."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Defer a call."""
        self.calls.append((args, kwargs))


@dataclass(frozen=True)
class StepFunctions:
    """How to run a step on one batch.

    ``loss`` takes the output of a step and returns its loss, averaged over processes; NaN if the step skipped the
    batch. ``any_process`` tells whether a flag is set in any process; None with a single process.
    """

    activate: Callable[[dict[str, Tensor]], None]
    step: Callable[[], Any]
    loss: Callable[[Any], float]
    device: torch.device
    any_process: Callable[[bool], bool] | None = None


@dataclass
class StepResult:
    """The result of a step with one channel set.

    It is ``complete`` unless the step ran without a graph, or its graph was dropped; only then are the other fields
    set: output, calls of ``self.log``, and the side effects ``after`` the step, if another one runs before it wins.
    """

    channel_sets: dict[str, Tensor]
    loss: float
    complete: bool = False
    output: Any = None
    logs: LogCalls = field(default_factory=LogCalls)
    after: SideEffects | None = None

    def drop_graph(self) -> None:
        """Keep only what needs no graph."""
        self.complete, self.output, self.logs, self.after = False, None, LogCalls(), None


class MinStep:
    """Runs a step with several channel sets in turn, each on the same state and random numbers.

    If two graphs fit in memory, the best one is kept while the next channel set runs. Otherwise all but the last run
    without a graph, and the best one runs again with a graph, unless it was the last. Either way the outcome is as if
    the best channel set had run alone: the same output, gradients, side effects and logs.
    """

    def __init__(self, module: LightningModule, memory: GraphMemory) -> None:
        self.module = module
        self._memory = memory
        self._graph_in_step = False

    def __call__(self, sets: Sequence[dict[str, Tensor]], steps: StepFunctions) -> tuple[StepResult, list[float]]:
        """Run the step with each channel set; return the complete best result, the first of equals, and all losses."""
        before = SideEffects(self.module)
        best: StepResult | None = None
        winner, losses = 0, list[float]()
        for index, channel_sets in enumerate(sets):
            last = index + 1 == len(sets)
            if index == 0:
                self._memory.before_graph(steps.device)
            else:
                undo(before)
            result = self._run_within_memory(channel_sets, steps, before, best, last)
            losses.append(result.loss)
            if best is None or result.loss < best.loss or math.isnan(best.loss):
                best, winner = result, index
                best.after = before.snapshot() if result.complete and not last else None
            del result  # a loser's graph goes before the next one is made
            if index == 0:
                self._check_memory(steps)
            if not last and not self._memory.keeps_two:
                best.drop_graph()
        if best is None:
            raise ValueError('sets=[]: a step needs at least one channel set.')
        if not best.complete:
            undo(before)
            best = self.run(best.channel_sets, steps)
            losses[winner] = best.loss  # some kernels, such as attention, round differently without a graph
        elif best.after is not None:
            best.after.restore()
            steps.activate(best.channel_sets)
        return best, losses

    def _run_within_memory(
        self,
        channel_sets: dict[str, Tensor],
        steps: StepFunctions,
        before: SideEffects,
        best: StepResult | None,
        last: bool,
    ) -> StepResult:
        """Run the step, with a graph if it fits in memory; drop the best graph if the device runs out of memory."""
        if not self._memory.keeps_two:
            return self.run(channel_sets, steps) if last else self._run_without_graph(channel_sets, steps, before)
        try:
            return self.run(channel_sets, steps)
        except torch.OutOfMemoryError as error:
            if best is None or not self._memory.may_change or steps.any_process is not None:
                raise  # a single graph does not fit, the user chose a mode, or other processes would wait
            self._memory.fall_back(str(error).splitlines()[0])
        best.drop_graph()  # by now the traceback, which held the failed graph, is gone
        undo(before)
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        return self._run_within_memory(channel_sets, steps, before, best, last)

    def _run_without_graph(
        self, channel_sets: dict[str, Tensor], steps: StepFunctions, before: SideEffects
    ) -> StepResult:
        """Run the step for its loss only."""
        if not self._graph_in_step:
            try:
                with torch.no_grad():
                    result = self.run(channel_sets, steps)
                result.drop_graph()
                return result
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - any error of a step that computes gradients itself
                pass_on(error, memory=False)
            undo(before)
        result = self.run(channel_sets, steps)
        self._graph_in_step = True
        result.drop_graph()
        return result

    def run(self, channel_sets: dict[str, Tensor], steps: StepFunctions) -> StepResult:
        """Run the step with one channel set and defer its logs."""
        steps.activate(channel_sets)
        logs = LogCalls()
        own = vars(self.module)
        log = own.get('log')  # Lightning's, set by NNI; absent without a trainer
        own['log'] = logs
        try:
            output = steps.step()
        finally:
            del own['log']
            own.update({} if log is None else {'log': log})
        return StepResult(channel_sets, steps.loss(output), True, output, logs)

    def _check_memory(self, steps: StepFunctions) -> None:
        """Decide, alike in all processes, whether a second graph fits in memory."""
        if not self._memory.may_change:
            return
        short = self._memory.is_short(steps.device)
        if short if steps.any_process is None else steps.any_process(short):
            self._memory.fall_back('Too little memory is free for two graphs')


def undo(before: SideEffects) -> None:
    """Restore the state before the step, to run it again."""
    before.restore()
    # Mixed precision caches casts of weights; those made without a graph would get no gradients.
    torch.clear_autocast_cache()
