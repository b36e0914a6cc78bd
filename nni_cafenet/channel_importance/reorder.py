"""Function-preserving permutations of channels."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from ..analysis import SameOutputs, reordered
from ..errors import truncated
from ..slicing import Selection, put, using_attributes
from ..space import WidthSpace
from ..utils import tensors_in

__all__ = ['ChannelOrder', 'order_channels', 'permute_channels']

Array = NDArray[np.int64]

_ORDERED = 'a convolution runs along them'
_OUTPUTS_DIFFER = 'the permutation would change the outputs of the network'

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChannelOrder:
    """A permutation applied to the channels of a space.

    ``permutation`` is the old index of each channel, ``{label: int64 tensor of shape (full width,)}``; ``kept`` the
    reasons of groups that could not be permuted.
    """

    permutation: dict[str, Tensor]
    kept: dict[str, str]

    def inverse(self) -> dict[str, Tensor]:
        """Return the inverse permutation, for `permute_channels`."""
        return {label: torch.argsort(order) for label, order in self.permutation.items()}


def order_channels(
    space: WidthSpace, importance: Mapping[str, Any], *, optimizer: Optimizer | None = None
) -> ChannelOrder:
    """Sort the channels of each group by descending importance, in place, without changing the network's function.

    The sort is stable. See `permute_channels`.

    Parameters
    ----------
    space
        The space; its model's tensors are permuted in place.
    importance
        ``{label: numbers of shape (full width,)}``, as `importance` returns; other groups keep their order.
    optimizer
        An optimizer of these parameters, whose state is permuted too.

    Returns
    -------
    ChannelOrder
        The applied permutation.

    Raises
    ------
    ValueError
        If a label is unknown, numbers are not finite or of wrong shape, the model is on the meta device, or the
        optimizer has state that cannot be permuted.
    TypeError
        If an argument has the wrong type.
    """
    full = {group.label: group.full for group in space.groups}
    _check_labels('importance', importance, full)
    orders = {}
    for label, given in importance.items():
        numbers = _array(given)
        if numbers.shape != (full[label],):
            raise ValueError(
                f'importance[{label!r}] has shape {numbers.shape}; give {full[label]} numbers, one a channel.'
            )
        if numbers.dtype.kind not in 'iufb' or not np.isfinite(numbers).all():
            raise ValueError(
                f'importance[{label!r}] has values that are not finite numbers: channels cannot be ranked by them.'
            )
        orders[label] = np.argsort(-numbers.astype(np.float64), kind='stable')
    return permute_channels(space, orders, optimizer=optimizer)


def permute_channels(
    space: WidthSpace, permutation: Mapping[str, Any], *, optimizer: Optimizer | None = None
) -> ChannelOrder:
    """Permute channels within groups, in place, without changing the network's function.

    Permutes parameters, buffers, gradients and optimizer state. Forwards before and after, on ``space.example_input`` in
    evaluation mode, verify that the outputs are equal; groups that fail are restored. In training mode, random layers
    (dropout) act on other channels than before.

    Parameters
    ----------
    space
        The space; its model's tensors are permuted in place. Active channel sets keep their indices, and so select other
        channels. Copies (averaged weights, checkpoints, models of the factory) keep the old order.
    permutation
        ``{label: old channel at each new index}``, each channel once; other groups keep their order.
    optimizer
        An optimizer of these parameters, whose state is permuted too. Without it, create a new optimizer afterwards.

    Returns
    -------
    ChannelOrder
        The applied permutation. ``permute_channels(space, order.inverse())`` undoes it.

    Raises
    ------
    ValueError
        If a label is unknown, a permutation is invalid, the model is on the meta device, or the optimizer has state that
        cannot be permuted.
    TypeError
        If an argument has the wrong type.

    Notes
    -----
    A channel of a group comprises everything that is kept or removed together, such as one channel of each head. Any
    permutation therefore preserves the function, except for code that depends on the order of channels at any width
    (``cumsum`` over channels) and passed the analysis through a user's rule.
    """
    full = {group.label: group.full for group in space.groups}
    orders = _checked(permutation, full)
    model = space.full_model
    meta = next((name for name, parameter in model.named_parameters() if parameter.is_meta), None)
    if meta is not None:
        raise ValueError(f'{meta} is on the meta device, without values to permute. Load the weights first.')
    moving = {label: order for label, order in orders.items() if (np.diff(order) != 1).any()}
    ordered = [group.label for group in space.graph.groups if group.ordered and group.label in moving]
    for label in ordered:
        del moving[label]
    with using_attributes(model, Selection(space.graph, {}).attributes(model)):
        kept = _ChannelPermuter(space, optimizer).apply_or_bisect(moving) if moving else {}
    for label, reason in kept.items():
        _logger.warning('The channels of %s keep their order: %s.', label, reason)
    if ordered:
        kept.update(dict.fromkeys(ordered, _ORDERED))
        _logger.warning('The channels of %s keep their order: %s.', truncated(', '.join(ordered)), _ORDERED)
    done = {label: torch.arange(width) for label, width in full.items()}
    done.update((label, torch.from_numpy(order)) for label, order in moving.items() if label not in kept)
    return ChannelOrder(done, kept)


class _ChannelPermuter:
    """Permutes channels in place, undoing permutations that change the outputs."""

    def __init__(self, space: WidthSpace, optimizer: Optimizer | None) -> None:
        self._graph = space.graph
        self._unchanged = SameOutputs(space.full_model, space.graph, space.example_input)
        model = space.full_model
        parameters = dict(model.named_parameters())
        gradients = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
        self._tensors = [
            (name, tensor)
            for tensors in (parameters, dict(model.named_buffers()), gradients, self._unchanged.stand_ins)
            for name, tensor in tensors.items()
            if name in space.graph.dims
        ]
        names = {id(tensor): name for name, tensor in parameters.items()}
        self._tensors += _state(optimizer, names) if optimizer is not None else []

    def apply_or_bisect(self, orders: Mapping[str, Array]) -> dict[str, str]:
        """Permute these groups, bisecting for failing ones; return ``{label: reason}`` of those left alone."""
        if self._moved(orders):
            return {}
        if len(orders) == 1:
            return dict.fromkeys(orders, _OUTPUTS_DIFFER)
        items, half = list(orders.items()), len(orders) // 2
        return {**self.apply_or_bisect(dict(items[:half])), **self.apply_or_bisect(dict(items[half:]))}

    @torch.no_grad()
    def _moved(self, orders: Mapping[str, Array]) -> bool:
        """Permute channels; undo and return False if the outputs change."""
        inverse = {label: np.argsort(order) for label, order in orders.items()}
        there, back = (reordered(self._graph, each, torch.device('cpu')) for each in (orders, inverse))
        done = []
        same = False
        try:
            for name, tensor in self._tensors:
                put(tensor, (None,) * tensor.dim(), there(name, tensor))
                done.append((name, tensor))
            same = self._unchanged()
        finally:
            for name, tensor in [] if same else reversed(done):
                put(tensor, (None,) * tensor.dim(), back(name, tensor))
        return same


def _state(optimizer: Optimizer, names: Mapping[int, str]) -> Iterator[tuple[str, Tensor]]:
    """Yield an optimizer's per-parameter state tensors, by parameter name."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f'optimizer={type(optimizer).__name__} must be a torch.optim.Optimizer.')
    for parameter, state in optimizer.state.items():
        name = names.get(id(parameter))
        if name is None:
            continue
        for tensor in tensors_in(state):
            if tensor.numel() == 1:
                continue
            shapes = list(zip(tensor.shape, parameter.shape))
            if tensor.dim() != parameter.dim() or any(size not in (1, own) for size, own in shapes):
                raise ValueError(
                    f'optimizer={type(optimizer).__name__} keeps a tensor of shape {tuple(tensor.shape)} for {name}, of '
                    f'shape {tuple(parameter.shape)}, which cannot be permuted. Create a new optimizer afterwards.'
                )
            yield name, tensor


def _checked(permutation: Mapping[str, Any], full: Mapping[str, int]) -> dict[str, Array]:
    _check_labels('permutation', permutation, full)
    orders = {}
    for label, given in permutation.items():
        order = _array(given)
        if order.dtype.kind not in 'iu' or not np.array_equal(np.sort(order, axis=None), np.arange(full[label])):
            raise ValueError(
                f'permutation[{label!r}] must have each channel from 0 to {full[label] - 1} once, got {order.tolist()}.'
            )
        orders[label] = order.reshape(-1).astype(np.int64)
    return orders


def _check_labels(argument: str, given: Mapping[str, Any], full: Mapping[str, int]) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(f'{argument} is a {type(given).__name__}; give {{label: one entry a channel}}.')
    unknown = next((label for label in given if label not in full), None)
    if unknown is not None:
        raise ValueError(f'{argument} has the unknown label {unknown!r}. Labels are in space.labels.')


def _array(numbers: Any) -> NDArray[Any]:
    if isinstance(numbers, Tensor):
        numbers = numbers.detach().cpu()
        numbers = numbers.double() if numbers.is_floating_point() else numbers
    return np.asarray(numbers)
