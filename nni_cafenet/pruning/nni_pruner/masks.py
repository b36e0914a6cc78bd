"""Masks in NNI's format that make the full model compute the outputs of a slim model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...slicing import Selection, put
from ...space import ChannelSets, WidthSpace, check_channel_sets

__all__ = ['Masks', 'apply_masks', 'masks_of']

Masks = dict[str, dict[str, Tensor]]
"""``{module: {parameter: mask}}``, 1 for kept and 0 for removed entries, in the shapes of the parameters."""


def masks_of(space: WidthSpace, kept: ChannelSets) -> Masks:
    """Return masks ``{module: {parameter: mask}}`` for kept channels; groups without ``{label: indices}`` keep all.

    Masks are zero for every entry that the slim model lacks: removed filters with their biases, scales and shifts, and
    the matching input channels of consumers. Hence outputs of removed channels have no effect, for any activation.
    Masks have the shape, dtype and device of their parameter. There is one for every parameter of a module with a
    sliced one.

    Raises ValueError if a label is unknown, or a channel set is not a list of ascending channel indices.
    """
    model, positions = space.full_model, _selection(space, kept).positions
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    masks: Masks = {}
    for owner, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if any(names[id(tensor)] in positions for tensor in own.values()):
            masks[owner] = {leaf: torch.zeros_like(tensor, requires_grad=False) for leaf, tensor in own.items()}
            for leaf, tensor in own.items():
                chosen = positions.get(names[id(tensor)], (None,) * tensor.dim())
                put(masks[owner][leaf], chosen, torch.ones((), dtype=tensor.dtype, device=tensor.device))
    return masks


def apply_masks(model: nn.Module, masks: Mapping[str, Mapping[str, Tensor | None]]) -> None:
    """Set the parameters of a model to zero where masks are zero, in place.

    Masks come from `masks_of` or an NNI pruner, which has None for missing biases. Raises ValueError if a module or
    parameter is missing or has another shape.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    with torch.no_grad():
        for owner, own in masks.items():
            for leaf, mask in own.items():
                if mask is None:
                    continue
                parameter = getattr(modules.get(owner), leaf, None)
                if not isinstance(parameter, Tensor) or parameter.shape != mask.shape:
                    there = 'no such parameter' if parameter is None else f'one of shape {tuple(parameter.shape)}'
                    raise ValueError(
                        f'masks[{owner!r}][{leaf!r}] has shape {tuple(mask.shape)}, but the model has {there}. '
                        'Give the model of these masks.'
                    )
                parameter.mul_(mask.to(parameter))


def _selection(space: WidthSpace, kept: ChannelSets) -> Selection:
    widths = {label: len(kept[label]) if label in kept else full for label, full in space.full_widths.items()}
    sets = check_channel_sets(kept, widths, space.full_widths)
    return Selection(space.graph, sets)
