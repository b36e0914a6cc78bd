"""Run a model with other values for its tensors, computed operator by operator: it is never copied as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from ...graph import ChannelGraph

__all__ = [
    'InDouble',
    'Transform',
    'ValueOverride',
    'changed',
    'converted',
    'masked',
    'permuted',
    'precise_type',
    'reordered',
    'replaced',
]

Transform = Callable[[str, Tensor], Tensor]
"""Maps the name and value of a parameter or buffer to another value."""


def changed(name: str, tensor: Tensor, *changes: Transform) -> Tensor:
    """Apply changes to a parameter or buffer, one after the other."""
    for change in changes:
        tensor = change(name, tensor)
    return tensor


class ValueOverride(TorchFunctionMode):
    """Give every operator in this block other values for the parameters of a model.

    Each value is computed for one operator and dropped after it. The parameters are not changed.
    """

    def __init__(self, parameters: Mapping[str, Tensor], *changes: Transform) -> None:
        super().__init__()
        self._names = {id(tensor): name for name, tensor in parameters.items()}
        self._changes = changes

    def __torch_function__(self, function: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        values = {name: self._given(argument) for name, argument in kwargs.items()} if kwargs else {}
        return function(*[self._given(argument) for argument in args], **values)

    def _given(self, argument: Any) -> Any:
        if isinstance(argument, Tensor):
            return self._value(argument)
        if isinstance(argument, (tuple, list, dict)):  # not for numbers: walking a tree is slow
            return pytree.tree_map_only(Tensor, self._value, argument)
        return argument

    def _value(self, tensor: Tensor) -> Tensor:
        name = self._names.get(id(tensor))
        return tensor if name is None else changed(name, tensor.detach(), *self._changes)


class InDouble(TorchFunctionMode):
    """Use float64 in this block where code asks for float32, and for new tensors.

    Some models compute parts in float32 whatever they are given (norms, softmax, positions), and a comparison would have
    no more digits than float32.
    """

    def __enter__(self) -> InDouble:
        self._before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch.set_default_dtype(self._before)

    def __torch_function__(self, function: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        function = _IN_DOUBLE.get(function, function)
        args = tuple(_in_double(argument) for argument in args)
        kwargs = {key: _in_double(value) for key, value in (kwargs or {}).items()}
        return function(*args, **kwargs)


_IN_DOUBLE = {
    getattr(Tensor, name): getattr(Tensor, double) for name, double in (('float', 'double'), ('cfloat', 'cdouble'))
}


def _in_double(argument: Any) -> Any:
    return torch.float64 if argument is torch.float32 else torch.complex128 if argument is torch.complex64 else argument


def replaced(values: Mapping[str, Tensor]) -> Transform:
    """Return the transform that replaces tensors by name."""
    return lambda name, tensor: values.get(name, tensor)


def converted(dtype: torch.dtype) -> Transform:
    """Return the transform of real and complex tensors to another precision."""
    return lambda _, tensor: tensor.to(precise_type(tensor, dtype))


def precise_type(tensor: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    """Return the type of a tensor in another precision, its own for whole numbers."""
    if dtype is None:
        return tensor.dtype
    return dtype if tensor.is_floating_point() else dtype.to_complex() if tensor.is_complex() else tensor.dtype


def masked(graph: ChannelGraph, channel_sets: Mapping[str, Any], device: torch.device) -> Transform:
    """Return the transform that sets everything that channel sets do not select to zero."""
    dropped = [
        None if kept is None else torch.from_numpy(np.setdiff1d(np.arange(len(layout)), kept)).to(device)
        for layout, kept in zip(graph.layouts, graph.positions(channel_sets))
    ]

    def change(name: str, tensor: Tensor) -> Tensor:
        zeroed = tensor
        for axis, index in enumerate(graph.dims.get(name, ())):
            places = None if index is None else dropped[index]
            if places is not None:
                zeroed = tensor.clone() if zeroed is tensor else zeroed
                zeroed.index_fill_(axis, places.to(tensor.device), 0)
        return zeroed

    return change


def permuted(
    graph: ChannelGraph,
    labels: Sequence[str],
    rng: np.random.Generator,
    device: torch.device,
    within: Mapping[str, Any] | None = None,
) -> Transform:
    """Return the transform that permutes the channels of groups, in the same way everywhere.

    With ``within``, channel sets of these groups, only the channels of each set are permuted, among themselves.
    """
    orders = {}
    for group in graph.groups:
        if group.label in labels:
            moved = np.arange(group.width) if within is None else np.asarray(within[group.label])
            order = rng.permutation(moved)
            orders[group.label] = np.arange(group.width)
            orders[group.label][moved] = np.roll(order, 1) if np.array_equal(order, moved) else order
    return reordered(graph, orders, device)


def reordered(graph: ChannelGraph, orders: Mapping[str, Any], device: torch.device) -> Transform:
    """Return the transform that puts the channels of groups in given orders (see `ChannelGraph.places`).

    Dimensions with one element for all positions are left as they are.
    """
    places = [
        None if place is None else torch.from_numpy(place).to(device) for place in graph.permuted_positions(orders)
    ]

    def change(name: str, tensor: Tensor) -> Tensor:
        for axis, index in enumerate(graph.dims.get(name, ())):
            place = None if index is None else places[index]
            if place is not None and tensor.shape[axis] > 1:
                tensor = tensor.index_select(axis, place.to(tensor.device))
        return tensor

    return change
