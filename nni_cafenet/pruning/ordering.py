"""Reordering of a trained network's channels by importance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..channel_importance import ChannelOrder, importance, needs_data, order_channels
from ..space import WidthSpace
from ..supernet import loss_of
from ..utils import seeded
from .training import Recipes

__all__ = ['ordered']

_BATCHES = 8


def ordered(
    space: WidthSpace, rule: Any, *, recipes: Recipes, loader: Callable[[], Any], seed: int
) -> tuple[ChannelOrder, dict[str, list[float]] | None]:
    """Order the channels of a space by importance, in place, and put its model into evaluation mode.

    ``rule`` is one of `importance`; None keeps the order. Rules that need data use 8 batches of the loader and the training
    step of ``recipes``. The importance of the channels in their new order is returned too, None if they have none.
    """
    space.eval()
    if rule is None:
        return ChannelOrder({label: torch.arange(width) for label, width in space.full_widths.items()}, {}), None
    data: dict[str, Any] = {}
    if needs_data(rule):
        with seeded(seed):
            batches = [batch for batch, _ in zip(loader(), range(_BATCHES))]
        data = {'batches': batches, 'loss': _loss_of_step(recipes)}
    found = importance(space, rule, **data)
    order = order_channels(space, found)
    return order, {label: found[label][order.permutation[label]].clamp(min=0).tolist() for label in found}


def _loss_of_step(recipes: Recipes) -> Callable[[nn.Module, Any], Tensor]:
    module = recipes.module().eval()  # the plain loss, without mixed batches
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign, assignment]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        module.set_model(model)
        return loss_of(module.training_step(batch, 0))

    return loss
