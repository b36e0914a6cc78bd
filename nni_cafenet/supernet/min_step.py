"""The inner minimum of min-min: a training step with each of several channel sets, of which only the best counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from nni.nas.evaluator.pytorch import LightningModule
from torch import Tensor

from .graph_memory import GraphMemory
from .side_effects import SideEffects

__all__ = ['LogCalls', 'MinStep', 'StepFunctions', 'StepResult']


class LogCalls:
    """Calls of ``self.log`` that wait until their channel set has won."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Keep a call."""
        self.calls.append((args, kwargs))


@dataclass(frozen=True)
class StepFunctions:
    """How a step is run on one batch, and judged.

    Parameters
    ----------
    activate
        Makes the supernet run on channel sets.
    step
        The user's training step on this batch.
    loss
        The loss of what a step returned, averaged over processes; NaN if it skipped the batch.
    device
        Where the graph is.
    any_process
        Whether something is so in any of the processes; None: there is one process.
    """

    activate: Callable[[dict[str, Tensor]], None]
    step: Callable[[], Any]
    loss: Callable[[Any], float]
    device: torch.device
    any_process: Callable[[bool], bool] | None = None


@dataclass
class StepResult:
    """What a step made of a batch with one channel set.

    Parameters
    ----------
    channel_sets
        ``{label: channel indices}``.
    loss
        Its loss.
    complete
        Whether the rest is here: not where the step was run without a graph, or its graph was given up.
    output, logs
        What it returned, and logged.
    after
        Its side effects, where something else is run before it wins.
    """

    channel_sets: dict[str, Tensor]
    loss: float
    complete: bool = False
    output: Any = None
    logs: LogCalls = field(default_factory=LogCalls)
    after: SideEffects | None = None

    def drop_graph(self) -> None:
        """Keep what needs no graph alone."""
        self.complete, self.output, self.logs, self.after = False, None, LogCalls(), None


class MinStep:
    """Runs a step with channel sets one after the other, each on the same state and the same random numbers.

    Where there is room for two graphs, that of the best run is kept while the next one runs. Where there is not, all runs
    but the last are without a graph, and the best one is run once more, with a graph, unless it was the last. Either way
    everything is left as if the best one had run alone: the same output, gradients, side effects and logs.

    Parameters
    ----------
    module
        The user's module, whose side effects are taken back and whose ``log`` waits.
    room
        Whether there is room for two graphs.
    """

    def __init__(self, module: LightningModule, memory: GraphMemory) -> None:
        self.module = module
        self._memory = memory
        self._graph_in_step = False

    def __call__(self, sets: Sequence[dict[str, Tensor]], steps: StepFunctions) -> tuple[StepResult, list[float]]:
        """Run the step with each of several channel sets.

        Returns
        -------
        best : Run
            The one with the smallest loss, the first of several; complete.
        losses : list of float
            All losses, in the order of the channel sets.
        """
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
            losses[winner] = best.loss  # some kernels, such as those of attention, round in another way without a graph
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
        """Run the step with a graph where there is room for it; make room where there turns out to be too little."""
        if not self._memory.keeps_two:
            return self.run(channel_sets, steps) if last else self._run_without_graph(channel_sets, steps, before)
        try:
            return self.run(channel_sets, steps)
        except torch.OutOfMemoryError as error:
            if best is None or not self._memory.may_change or steps.any_process is not None:
                raise  # one graph alone is too much, or the user's word counts, or other processes would wait
            self._memory.fall_back(str(error).splitlines()[0])
        best.drop_graph()  # here the traceback, which holds the graph that was too much, is gone
        undo(before)
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        return self._run_within_memory(channel_sets, steps, before, best, last)

    def _run_without_graph(
        self, channel_sets: dict[str, Tensor], steps: StepFunctions, before: SideEffects
    ) -> StepResult:
        """Run the step for its loss alone."""
        if not self._graph_in_step:
            try:
                with torch.no_grad():
                    result = self.run(channel_sets, steps)
                result.drop_graph()
                return result
            except torch.OutOfMemoryError:
                raise
            except Exception:  # noqa: BLE001 - whatever a step raises that differentiates something by itself
                pass
            undo(before)
        result = self.run(channel_sets, steps)
        self._graph_in_step = True
        result.drop_graph()
        return result

    def run(self, channel_sets: dict[str, Tensor], steps: StepFunctions) -> StepResult:
        """Run the step with one channel set, as it is; what it logs waits."""
        steps.activate(channel_sets)
        logs = LogCalls()
        own = vars(self.module)
        log = own.get('log')  # Lightning's, as NNI hands it over; none where no trainer runs
        own['log'] = logs
        try:
            output = steps.step()
        finally:
            del own['log']
            own.update({} if log is None else {'log': log})
        return StepResult(channel_sets, steps.loss(output), True, output, logs)

    def _check_memory(self, steps: StepFunctions) -> None:
        """Decide, in all processes alike, whether another graph fits beside the first one of a step."""
        if not self._memory.may_change:
            return
        short = self._memory.is_short(steps.device)
        if short if steps.any_process is None else steps.any_process(short):
            self._memory.fall_back('Too little memory is free for two graphs')


def undo(before: SideEffects) -> None:
    """Make everything as it was before the step, for another run of it."""
    before.restore()
    # Automatic mixed precision keeps copies of weights: those that were made without a graph would get no gradients.
    torch.clear_autocast_cache()
