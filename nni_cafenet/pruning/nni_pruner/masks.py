"""NNI's masks: where the full model must be zero to compute what a slim model of it computes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...slicing import Selection, put
from ...space import ChannelSets, WidthSpace, check_channel_sets

__all__ = ['Masks', 'apply_masks', 'masks_of']

Masks = dict[str, dict[str, Tensor]]
"""``{module: {parameter: 1 where it is kept, 0 where not}}``, in the shapes of the parameters."""


def masks_of(space: WidthSpace, kept: ChannelSets) -> Masks:
    """Return the masks of the channels that are kept.

    They are zero wherever the slim model has no entry: filters that are removed, the channels of them that other layers
    read, their biases, scales and shifts. What a layer makes of a removed channel, whatever its activation, is read by
    nobody.

    Parameters
    ----------
    space
        The space of the model.
    kept
        ``{label: ascending indices of the channels that are kept}``; groups left out keep all.

    Returns
    -------
    ``{module: {parameter: mask}}`` for all modules with a parameter that some widths cut. The modules are those of
    ``space.full_model``, ``''`` for parameters of the model itself; parameters that are not cut have ones. A mask has the
    shape, the precision and the device of its parameter.

    Raises
    ------
    ValueError
        If a label is unknown, or a channel set holds no ascending indices of channels.
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

    Parameters
    ----------
    model
        The model that the masks belong to.
    masks
        ``{module: {parameter: mask}}``, of `masks_of` or of a pruner of NNI, which has None for a bias that is not there.

    Raises
    ------
    ValueError
        If the model has no such module or parameter, or one of another shape.
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
                        f'masks[{owner!r}][{leaf!r}] has shape {tuple(mask.shape)}, and the model has {there}. '
                        'Give the model that the masks were made for.'
                    )
                parameter.mul_(mask.to(parameter))


def _selection(space: WidthSpace, kept: ChannelSets) -> Selection:
    widths = {label: len(kept[label]) if label in kept else full for label, full in space.full_widths.items()}
    sets = check_channel_sets(kept, widths, space.full_widths)
    return Selection(space.graph, sets)
