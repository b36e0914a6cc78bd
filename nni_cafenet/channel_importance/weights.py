"""The weights that make, scale and read the channels of groups."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..graph import ChannelGraph
from ..slicing import using_mode

__all__ = ['as_double', 'consumer_weights', 'norm_scales', 'producer_parameters', 'producer_weights']


def producer_parameters(model: nn.Module, graph: ChannelGraph) -> list[tuple[str, int, nn.Parameter]]:
    """Return the parameters that produce channels of groups, with the channel axis."""
    own = dict(model.named_parameters())
    made = [(name, axis) for name, axis in graph.produced if name in own and name in graph.dims]
    return [(name, axis, own[name]) for name, axis in made if graph.dims[name][axis] is not None]


def producer_weights(model: nn.Module, graph: ChannelGraph) -> Iterator[tuple[str, int, Tensor]]:
    """Yield the weights that produce channels, with the channel axis; effective values of parametrized ones."""
    modules = dict(model.named_modules())
    for name, axis, parameter in producer_parameters(model, graph):
        weight: Tensor = parameter
        layer, _, leaf = f'.{name}'.partition('.parametrizations.')
        if leaf:
            with using_mode(model, training=False), torch.no_grad():
                effective = getattr(modules[layer[1:]], leaf.partition('.')[0])
            weight = effective if effective.shape == weight.shape else weight
        yield name, axis, weight.detach()


def norm_scales(model: nn.Module, graph: ChannelGraph) -> Iterator[tuple[str, int, Tensor]]:
    """Yield the scales of normalizations, with each channel axis."""
    modules, made = dict(model.named_modules()), {name for name, _ in graph.produced}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        layer, _, leaf = name.rpartition('.')
        if leaf == 'weight' and name not in made and 'norm' in type(modules[layer]).__name__.lower():
            for axis, index in enumerate(graph.dims.get(name, ())):
                if index is not None:
                    yield name, axis, tensor.detach()


def consumer_weights(model: nn.Module, graph: ChannelGraph) -> Iterator[tuple[str, int, Tensor]]:
    """Yield the weights that consume channels, with each channel axis."""
    made = set(graph.produced)
    for name, parameter in model.named_parameters():
        for axis, index in enumerate(graph.dims.get(name, ())):
            if index is not None and parameter.dim() > 1 and (name, axis) not in made:
                yield name, axis, parameter.detach()


def as_double(tensor: Tensor) -> Tensor:
    """Return real numbers in double precision, moduli of complex ones; on the CPU if the device has no doubles."""
    tensor = tensor.detach()
    tensor = tensor.abs() if tensor.is_complex() else tensor
    return (tensor.cpu() if tensor.device.type == 'mps' else tensor).double()
