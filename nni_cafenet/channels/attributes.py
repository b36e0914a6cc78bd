"""Attributes of modules that follow widths: ``out_channels``, ``groups``, and the numbers that users' layers keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from .graph import ChannelGraph
from .places import Places
from .runs import Runs

__all__ = ['FollowingAttributes', 'size_attributes']

_RMS_NORM = (nn.RMSNorm,) if hasattr(nn, 'RMSNorm') else ()


class FollowingAttributes:
    """The attributes of a model's modules that follow its widths.

    Parameters
    ----------
    graph
        The model's channel graph.
    places
        The places of the model.
    """

    def __init__(self, graph: ChannelGraph, places: Places) -> None:
        self._declared = [
            (attribute, places.modules[attribute.module], index)
            for attribute in graph.attributes
            if (index := graph.dims[attribute.parameter][attribute.axis]) is not None
        ]
        self._sized: list[tuple[str, nn.Module, list[tuple[str, tuple[int, ...], tuple[int | None, ...]]]]] = []
        seen = set()
        for path, module in places.modules.items():
            if id(module) in seen:
                continue
            seen.add(id(module))
            leaves = [
                (leaf, tuple(tensor.shape), graph.dims[name])
                for leaf, tensor in module._parameters.items()
                if tensor is not None and (name := places.name_of(module, leaf)) in graph.dims
            ]
            if leaves:
                self._sized.append((path, module, leaves))

    def values(self, sizes: Sequence[int], runs: Sequence[Runs | None]) -> dict[str, dict[str, Any]]:
        """Return what the attributes become, ``{module: {attribute: value}}``.

        Parameters
        ----------
        sizes
            How many positions of each layout of the graph are selected.
        runs
            Which ones; None for all.
        """
        values: dict[str, dict[str, Any]] = {}
        for attribute, module, index in self._declared:
            size = sizes[index] if attribute.span is None else _within(runs[index], attribute.span)
            found = values.setdefault(attribute.module, {})
            before = found.get(attribute.name, getattr(module, attribute.name))
            found[attribute.name] = _with_number(before, attribute.index, size // attribute.divisor)
        for path, module, leaves in self._sized:
            shapes = {
                leaf: tuple([size if index is None else sizes[index] for size, index in zip(shape, indices)])
                for leaf, shape, indices in leaves
            }
            found = values.setdefault(path, {})
            groups = int(found.get('groups', getattr(module, 'groups', 1)))
            found.update(size_attributes(module, shapes, groups))
        return values


def _within(runs: Runs | None, span: tuple[int, int]) -> int:
    """Return how many of the selected positions stand in a span."""
    first, end = span
    if runs is None:
        return end - first
    return sum(max(0, min(start + length, end) - max(start, first)) for start, length in zip(runs.starts, runs.lengths))


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
