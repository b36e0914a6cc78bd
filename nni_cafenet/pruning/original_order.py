"""Restoring the original channel order of a slim model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..channel_importance import ChannelOrder, permute_channels
from ..slicing import Selection
from ..slim import write_back
from ..space import WidthSpace

__all__ = ['in_original_order']


def in_original_order(
    space: WidthSpace,
    order: ChannelOrder,
    slim: nn.Module,
    widths: Mapping[str, int],
    channel_sets: Mapping[str, Tensor],
) -> tuple[nn.Module, dict[str, Tensor]]:
    """Undo the reordering of channels in a slim model on the CPU; widths and channel sets are of the ordered space.

    Returns a model with the same outputs, and its channels in the original model, ``{label: ascending indices}``. The
    space's model is unchanged on return.
    """
    model = space.full_model
    before = [(tensor, tensor.detach().clone()) for tensor in (*model.parameters(), *model.buffers())]
    kept = {label: order.permutation[label][chosen].sort().values for label, chosen in channel_sets.items()}
    try:
        write_back(
            slim, model, Selection(space.graph, {label: chosen.numpy() for label, chosen in channel_sets.items()})
        )
        permute_channels(space, order.inverse())
        return space.slim(widths, kept), kept
    finally:
        with torch.no_grad():
            for tensor, values in before:
                tensor.copy_(values)
