"""The part of a model that some channel sets select: slices of its tensors, and the module attributes that go with it.

The slim model and the supernet are both made here, from the same slices and the same attributes, so that they cannot
disagree: the slim model owns copies of the slices, the supernet runs on them in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from .graph import ChannelGraph

__all__ = ['Selection', 'put', 'take']

_RMS_NORM = (nn.RMSNorm,) if hasattr(nn, 'RMSNorm') else ()

Positions = tuple[Optional[Tensor], ...]
"""For each dimension of a tensor the positions that are kept, ascending; None for all."""


class Selection:
    """What channel sets select of a model.

    Parameters
    ----------
    graph
        The model's channel graph.
    channel_sets
        ``{label: channel indices}``; groups left out keep all their channels.
    device
        Where the index tensors are kept.
    """

    def __init__(self, graph: ChannelGraph, channel_sets: Mapping[str, Any], device: torch.device | str = 'cpu'):
        chosen = graph.positions(channel_sets)
        tensors = [None if positions is None else torch.from_numpy(positions).to(device) for positions in chosen]
        sizes = [
            len(layout) if positions is None else len(positions) for layout, positions in zip(graph.layouts, chosen)
        ]
        self.positions: dict[str, Positions] = {}
        self._sizes: dict[str, tuple[int | None, ...]] = {}
        for name, indices in graph.dims.items():
            self.positions[name] = tuple(None if index is None else tensors[index] for index in indices)
            self._sizes[name] = tuple(None if index is None else sizes[index] for index in indices)
        self._attributes = graph.attributes
        self._spans = {
            (attribute.parameter, attribute.axis, attribute.span): _within(chosen[index], attribute.span)
            for attribute in graph.attributes
            if attribute.span is not None and (index := graph.dims[attribute.parameter][attribute.axis]) is not None
        }

    def slices(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the selected part of every parameter and buffer that is not selected whole.

        Autograd sees the slicing: gradients arrive at the selected entries of the full tensors, and are zero elsewhere.
        """
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        return {
            name: take(tensors[name], positions)
            for name, positions in self.positions.items()
            if any(position is not None for position in positions)
        }

    def attributes(self, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Return the attributes of modules that follow the selection, ``{module: {attribute: value}}``."""
        modules = dict(model.named_modules(remove_duplicate=False))
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        shapes: dict[str, dict[str, tuple[int, ...]]] = {}
        for owner, module in model.named_modules():
            for leaf, full in module._parameters.items():
                sizes = None if full is None else self._sizes.get(names[id(full)])  # tied parameters share one name
                if full is not None and sizes is not None:
                    shape = tuple(whole if size is None else size for whole, size in zip(full.shape, sizes))
                    shapes.setdefault(owner, {})[leaf] = shape
        values: dict[str, dict[str, Any]] = {}
        for attribute in self._attributes:
            size = self._sizes[attribute.parameter][attribute.axis]
            if size is not None:
                if attribute.span is not None:
                    size = self._spans[attribute.parameter, attribute.axis, attribute.span]
                found = values.setdefault(attribute.module, {})
                before = found.get(attribute.name, getattr(modules[attribute.module], attribute.name))
                found[attribute.name] = _with_number(before, attribute.index, size // attribute.divisor)
        for owner, leaves in shapes.items():
            found = values.setdefault(owner, {})
            groups = int(found.get('groups', getattr(modules[owner], 'groups', 1)))
            found.update(size_attributes(modules[owner], leaves, groups))
        return values


def _within(positions: NDArray[np.int64] | None, span: tuple[int, int]) -> int:
    """Return how many of the selected positions stand in a span; None selects all."""
    return span[1] - span[0] if positions is None else int(np.subtract(*np.searchsorted(positions, span[::-1])))


def _with_number(before: Any, index: int | None, number: int) -> Any:
    """Return what a module keeps, with another number in it: alone, or as an element of a tuple or a list."""
    if not isinstance(before, (tuple, list)):
        return number
    numbers = list(before)
    numbers[index or 0] = number
    return type(before)(numbers)


def size_attributes(module: nn.Module, shapes: Mapping[str, tuple[int, ...]], groups: int) -> dict[str, Any]:
    """Return the attributes in which a module of torch keeps the sizes of its parameters.

    Parameters
    ----------
    module
        A module.
    shapes
        New shapes of its own parameters, ``{name: shape}``.
    groups
        New number of groups, of a convolution.
    """
    weight = shapes.get('weight')
    if weight is None:
        return {}
    if isinstance(module, _ConvNd):
        inputs, outputs = (weight[1] * groups, weight[0])
        if module.transposed:
            inputs, outputs = weight[0], weight[1] * groups
        return {'in_channels': inputs, 'out_channels': outputs}
    if isinstance(module, nn.Linear):
        return {'in_features': weight[1], 'out_features': weight[0]}
    if isinstance(module, _NormBase):
        return {'num_features': weight[0]}
    if isinstance(module, (nn.LayerNorm, *_RMS_NORM)):
        return {'normalized_shape': weight}
    if isinstance(module, nn.GroupNorm):
        return {'num_channels': weight[0]}
    if isinstance(module, nn.Embedding):
        return {'embedding_dim': weight[1]}
    return {}


def take(tensor: Tensor, positions: Positions) -> Tensor:
    """Return the selected part of a tensor: a view where the positions are contiguous, else a copy."""
    for axis, chosen in enumerate(positions):
        if chosen is None:
            continue
        first, last = (0, -1) if chosen.is_meta else (int(chosen[0]), int(chosen[-1]))
        if last - first + 1 == len(chosen):
            tensor = tensor.narrow(axis, first, len(chosen))
        else:
            tensor = tensor.index_select(axis, chosen.to(tensor.device))
    return tensor


def put(tensor: Tensor, positions: Positions, values: Tensor) -> None:
    """Write values into the selected part of a tensor, in place; not into one whose elements share memory."""
    if tensor.layout == torch.strided and any(s == 0 and n > 1 for s, n in zip(tensor.stride(), tensor.shape)):
        return  # nothing else can write into it either: expanded constants
    if all(chosen is None for chosen in positions):
        tensor.copy_(values)
        return
    index: list[Any] = []
    for axis, chosen in enumerate(positions):
        every = torch.arange(tensor.shape[axis], device=tensor.device) if chosen is None else chosen.to(tensor.device)
        index.append(every.reshape([-1 if other == axis else 1 for other in range(tensor.dim())]))
    tensor[tuple(index)] = values
