"""Module attributes that follow widths: ``out_channels``, ``groups``, and those of users' layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from ..graph import Attribute, ChannelGraph
from ..utils import ConvNd, StatisticsNorm, replace_contained
from .index_runs import IndexRuns
from .tensor_slots import TensorSlots

__all__ = ['Containers', 'WidthAttributes', 'size_attributes']

_RMS_NORM = (nn.RMSNorm,) if hasattr(nn, 'RMSNorm') else ()


class Containers:
    """The containers that modules had before copies of them, with other numbers, took their places."""

    def __init__(self) -> None:
        # The module is kept, so that its id is not reused.
        self._known: dict[tuple[int, str], tuple[nn.Module, Any, Any]] = {}

    def original(self, module: nn.Module, name: str) -> Any:
        """Return a module's own container: what it had before it was given a copy, unless it has another one by now."""
        present = getattr(module, name)
        _, original, copied = self._known.get((id(module), name), (module, present, present))
        return original if present is copied else present

    def given(self, module: nn.Module, name: str, value: Any) -> None:
        """Remember that a module is given a value in place of its own container."""
        self._known[id(module), name] = module, self.original(module, name), value


class _Number(NamedTuple):
    """An attribute equal to ``factor * size // divisor``, where size is that of a layout."""

    path: str
    module: nn.Module
    name: str
    layout: int
    factor: int
    divisor: int


class WidthAttributes:
    """The attributes of a model's modules that follow its widths."""

    def __init__(self, graph: ChannelGraph, slots: TensorSlots, containers: Containers | None = None) -> None:
        containers = containers or Containers()
        declared: dict[str, list[tuple[Attribute, int]]] = {}
        for attribute in graph.attributes:
            index = graph.dims[attribute.parameter][attribute.axis]
            if index is not None:
                declared.setdefault(attribute.module, []).append((attribute, index))
        self._numbers: list[_Number] = []
        self._others: list[_ModuleSizes] = []
        seen = set()
        for path, module in slots.modules.items():
            leaves = []
            if id(module) not in seen:
                seen.add(id(module))
                leaves = [
                    (leaf, tuple(tensor.shape), graph.dims[name])
                    for leaf, tensor in module._parameters.items()
                    if tensor is not None and (name := slots.name_of(module, leaf)) in graph.dims
                ]
            if leaves or path in declared:
                found = _ModuleSizes(path, module, declared.get(path, []), leaves, containers)
                numbers = found.numbers()
                if numbers is None:
                    self._others.append(found)
                else:
                    self._numbers += numbers

    def set_numbers(self, sizes: Sequence[int]) -> None:
        """Set the attributes that are plain numbers: most of them.

        Parameters
        ----------
        sizes
            Number of selected positions of each layout.
        """
        for _, module, name, layout, factor, divisor in self._numbers:
            # nn.Module.__setattr__ would search parameters, buffers and children first.
            module.__dict__[name] = factor * sizes[layout] // divisor

    def others(self, sizes: Sequence[int], runs: Sequence[IndexRuns | None]) -> dict[str, dict[str, Any]]:
        """Return the values of the other attributes, ``{module: {attribute: value}}``.

        Parameters
        ----------
        sizes
            Number of selected positions of each layout.
        runs
            The selected positions of each layout; None for all.
        """
        return {module.path: module.values(sizes, runs) for module in self._others}

    def values(self, sizes: Sequence[int], runs: Sequence[IndexRuns | None]) -> dict[str, dict[str, Any]]:
        """Return the values of all attributes; arguments as of `others`."""
        values = self.others(sizes, runs)
        for path, _, name, layout, factor, divisor in self._numbers:
            values.setdefault(path, {})[name] = factor * sizes[layout] // divisor
        return values


class _ModuleSizes(NamedTuple):
    """A module, its declared attributes, and the shapes of its parameters."""

    path: str
    module: nn.Module
    declared: list[tuple[Attribute, int]]
    leaves: list[tuple[str, tuple[int, ...], tuple[int | None, ...]]]

    containers: Containers

    def numbers(self) -> list[_Number] | None:
        """Return its attributes as plain numbers; None if some are not, or the class has a ``__setattr__`` of its own."""
        module = self.module
        watched = getattr(type(module), '__setattr__') is not nn.Module.__setattr__  # noqa: B009 - mypy takes it for object's
        numbers: dict[str, _Number] = {}
        for attribute, index in self.declared:
            if attribute.span is not None or attribute.keys or not isinstance(module.__dict__.get(attribute.name), int):
                return None
            numbers[attribute.name] = _Number(self.path, module, attribute.name, index, 1, attribute.divisor)
        weight = next(((shape, indices) for leaf, shape, indices in self.leaves if leaf == 'weight'), None)
        if weight is not None:
            if isinstance(module, (nn.LayerNorm, *_RMS_NORM)):
                return None
            shape, indices = weight
            for name, (axis, for_each_group) in _axes_of_sizes(module).items():
                layout = indices[axis]
                if for_each_group and 'groups' in numbers:
                    if layout is not None:
                        return None
                    numbers[name] = numbers['groups']._replace(name=name, factor=shape[axis])
                elif layout is not None:
                    factor = int(getattr(module, 'groups', 1)) if for_each_group else 1
                    numbers[name] = _Number(self.path, module, name, layout, factor, 1)
        return None if watched or not numbers.keys() <= module.__dict__.keys() else list(numbers.values())

    def values(self, sizes: Sequence[int], runs: Sequence[IndexRuns | None]) -> dict[str, Any]:
        """Return the values of its attributes."""
        values: dict[str, Any] = {}
        for attribute, index in self.declared:
            size = sizes[index] if attribute.span is None else _within(runs[index], attribute.span)
            number = size // attribute.divisor
            if attribute.keys and attribute.name not in values:
                values[attribute.name] = self.containers.original(self.module, attribute.name)
            values[attribute.name] = replace_contained(values.get(attribute.name), attribute.keys, number)
        for name in {attribute.name for attribute, _ in self.declared if attribute.keys}:
            self.containers.given(self.module, name, values[name])
        shapes = {
            leaf: tuple([size if index is None else sizes[index] for size, index in zip(shape, indices)])
            for leaf, shape, indices in self.leaves
        }
        groups = int(values.get('groups', getattr(self.module, 'groups', 1)))
        return {**values, **size_attributes(self.module, shapes, groups)}


def _within(runs: IndexRuns | None, span: tuple[int, int]) -> int:
    """Count the selected positions within a span."""
    first, end = span
    if runs is None:
        return end - first
    return sum(max(0, min(start + length, end) - max(start, first)) for start, length in zip(runs.starts, runs.lengths))


def size_attributes(module: nn.Module, shapes: Mapping[str, tuple[int, ...]], groups: int) -> dict[str, Any]:
    """Return the size attributes of one of torch's modules.

    Parameters
    ----------
    module
        The module.
    shapes
        ``{name: new shape}`` of its own parameters.
    groups
        New number of groups of a convolution.
    """
    weight = shapes.get('weight')
    if weight is None:
        return {}
    if isinstance(module, (nn.LayerNorm, *_RMS_NORM)):
        return {'normalized_shape': weight}
    return {
        name: weight[axis] * (groups if for_each_group else 1)
        for name, (axis, for_each_group) in _axes_of_sizes(module).items()
    }


def _axes_of_sizes(module: nn.Module) -> dict[str, tuple[int, bool]]:
    """Return ``{attribute: (axis of the weight, whether that axis counts a single group)}``."""
    if isinstance(module, ConvNd) or _is_deformable(module):
        swapped = getattr(module, 'transposed', False)
        whole, shared = ('in_channels', 'out_channels') if swapped else ('out_channels', 'in_channels')
        return {whole: (0, False), shared: (1, True)}
    if isinstance(module, nn.Linear):
        return {'in_features': (1, False), 'out_features': (0, False)}
    if isinstance(module, StatisticsNorm):
        return {'num_features': (0, False)}
    if isinstance(module, nn.GroupNorm):
        return {'num_channels': (0, False)}
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return {'embedding_dim': (1, False)}
    return {}


def _is_deformable(module: nn.Module) -> bool:
    """Whether a module is torchvision's deformable convolution, found without importing torchvision."""
    return any(base.__module__ == 'torchvision.ops.deform_conv' for base in type(module).__mro__)
