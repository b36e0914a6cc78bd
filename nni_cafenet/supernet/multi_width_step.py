"""A training step at several widths on one batch, with or without the full network as a teacher."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from .divergence import Divergence, logits_of
from .min_step import StepFunctions, StepResult, undo
from .side_effects import SideEffects
from .step_output import loss_of, sum_of, with_loss

__all__ = ['step_at_widths']

Channels = dict[str, Tensor]


def step_at_widths(
    module: nn.Module,
    model: nn.Module,
    widths: Sequence[tuple[Sequence[Channels], StepFunctions]],
    run: Callable[[Sequence[Channels], StepFunctions], tuple[StepResult, list[float]]],
    divergence: Divergence | None,
) -> tuple[StepResult, list[list[float]]]:
    """Run a step at several widths, each on the same state and random numbers, and train the mean of their losses.

    ``run`` runs it at one width. Side effects and logs are those of the first width. With a divergence, all other
    widths minimize it in place of their own loss, with the first width, that of the full network, as the teacher.
    Returns the complete result of the first width, with the mean loss in its output, and the losses of the channel sets
    of each width.
    """
    before, results, losses, teacher = SideEffects(module), list[StepResult](), list[list[float]](), None
    after = before
    for sets, steps in widths:
        if results:
            undo(before)
        if divergence is None:
            result, own_losses = run(sets, steps)
        elif teacher is None:
            with _outputs_of(model) as outputs:
                result, own_losses = run(sets, steps)
            teacher = None if result.output is None else _logits(outputs).detach()
        else:
            step = _distilled(steps.step, model, teacher, divergence)
            result, own_losses = run(sets, dataclasses.replace(steps, step=step))
        results.append(result)
        losses.append(own_losses)
        if len(results) == 1:
            after = before.snapshot()
        if result.output is None:  # the step skips the batch
            break
    first = results[0]
    after.restore()
    widths[0][1].activate(first.channel_sets)
    known = [each for each in results if each.output is not None]
    if known and first.output is not None:
        total = sum_of([loss_of(each.output) for each in known]) / len(known)
        first.output = with_loss(first.output, total)
        first.loss = sum(each.loss for each in known) / len(known)
    return first, losses


def _distilled(step: Callable[[], Any], model: nn.Module, teacher: Tensor, divergence: Divergence) -> Callable[[], Any]:
    """Return a step whose loss is the divergence of the model's outputs from the teacher's."""

    def run() -> Any:
        with _outputs_of(model) as outputs:
            output = step()
        return None if output is None else with_loss(output, divergence.between(_logits(outputs), teacher))

    return run


def _logits(outputs: Sequence[Any]) -> Tensor:
    if not outputs:
        raise TypeError('distill: the training step does not call the model, so there are no outputs to distill.')
    return logits_of(outputs[-1])


@contextlib.contextmanager
def _outputs_of(model: nn.Module) -> Iterator[list[Any]]:
    """Yield a list that collects the outputs of a model."""
    outputs = list[Any]()
    hook = model.register_forward_hook(lambda module, args, output: outputs.append(output))
    try:
        yield outputs
    finally:
        hook.remove()
