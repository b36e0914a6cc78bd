"""The output of a training step: a loss, or a mapping with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

__all__ = ['loss_of', 'sum_of', 'with_loss']


def loss_of(output: Any) -> Tensor:
    """Return the loss in the output of a training step: a tensor, or a mapping with the key ``loss``."""
    loss = output.get('loss') if isinstance(output, Mapping) else output
    if not isinstance(loss, Tensor):
        raise TypeError(
            f'training_step returned {type(output).__name__}. It must return the loss as a tensor, a dict with the key '
            "'loss', or None to skip the batch."
        )
    return loss


def with_loss(output: Any, loss: Tensor) -> Any:
    """Return the output of a training step with another loss."""
    return {**output, 'loss': loss} if isinstance(output, Mapping) else loss


def sum_of(losses: Sequence[Tensor]) -> Tensor:
    """Return the sum of one or more losses."""
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    return total
