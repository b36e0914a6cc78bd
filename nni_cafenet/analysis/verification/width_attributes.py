"""Numbers of modules that may be widths: ``self.width``, ``self.shape = (width, 1, 1)``, ``self.config['width']``.

A model's code may read a width from an attribute, which the operators do not show: ``torch.split(x, self.width)``,
``scale.view(self.shape)``. A number is a candidate if it is the size of a dimension of a parameter inside the module, a
share of it that stays whole at every width, or the size of a part that an operator cuts. Real forwards tell which
candidates are widths and which equal one by coincidence (see `repair`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import FunctionType

import numpy as np
from torch import nn

from ...graph import Attribute, ChannelGraph, Cut, DimSlice, Layout
from ...utils import ConvNd, Keys, StatisticsNorm, contained_numbers
from ..model_state import code_words

__all__ = ['Options', 'Shares', 'candidates', 'distinct']

Options = dict[str, tuple[Attribute, ...]]
"""What a number or a sequence of numbers may follow, by a name that is the same in all modules of a class."""

Share = tuple[bytes, ...]
"""A share of a size in a form that can be compared."""

_LAYERS = (ConvNd, nn.Linear, StatisticsNorm, nn.LayerNorm, nn.GroupNorm, nn.Embedding)
"""Layers whose attributes follow their parameters anyway."""

_MOST_CUTS = 2
"""Most cuts into the same sizes that are tried, from the nearest."""


class Shares:
    """Shares of sizes, each described once."""

    def __init__(self, graph: ChannelGraph) -> None:
        self.graph = graph
        self._known: dict[tuple[int | None, tuple[int, int] | None, int], Share | None] = {}

    def of(self, attribute: Attribute) -> Share | None:
        """Return the share that an attribute is of its dimension; see `_share`."""
        index = self.graph.dims[attribute.parameter][attribute.axis]
        key = (index, attribute.span, attribute.divisor)
        if key not in self._known:
            self._known[key] = _share(self.graph, attribute)
        return self._known[key]


def candidates(graph: ChannelGraph, shares: Shares, path: str, module: nn.Module) -> dict[str, Options]:
    """Return the attributes of a module that may be widths, and what they may follow.

    Parameters
    ----------
    graph, shares
        The channel graph of the model, and the shares of its sizes.
    path
        Name of the module in the model.
    module
        The module.

    Returns
    -------
    ``{number: options}``, the likeliest options first; numbers in containers come last, and among them those whose keys the
    module's code does not name. Numbers of a tuple or list of nothing else follow together. Numbers that already follow a
    width are left out.
    """
    if isinstance(module, _LAYERS) and any(tensor is not None for tensor in module._parameters.values()):
        return {}
    surroundings = _Surroundings(graph, shares, path)
    following = [(attribute.name, *attribute.keys) for attribute in graph.attributes if attribute.module == path]
    found: dict[str, Options] = {}
    words = _words(type(module))
    for name, keys, value in sorted(_numbers_of(module), key=lambda found: _unlikely(found[1], words)):
        way = (name, *keys)
        if any(known[: len(way)] == way for known in following):
            continue
        if isinstance(value, int):
            options = surroundings.of_number(name, keys, value)
        else:
            options = surroundings.of_numbers(name, keys, value)
        options = {label: option for label, option in options.items() if option}
        if options:
            found[name + ''.join(f'[{key!r}]' for key in keys)] = options
    return found


def _words(kind: type) -> frozenset[str]:
    """Return the names and texts in the methods of a class."""
    methods = [value for base in kind.__mro__ for value in vars(base).values() if isinstance(value, FunctionType)]
    return frozenset[str]().union(*(code_words(method.__code__) for method in methods))


def _unlikely(keys: Keys, words: frozenset[str]) -> int:
    """Return a rank: numbers of the module itself, those in containers, those that its code does not name."""
    return len(keys[:1]) + any(isinstance(key, str) and key not in words for key in keys)


def _numbers_of(module: nn.Module) -> Iterator[tuple[str, Keys, int | tuple[int, ...]]]:
    for name, value in vars(module).items():
        if not name.startswith('_'):
            yield from ((name, keys, number) for keys, number in contained_numbers(value))


def distinct(shares: Shares, options: Options) -> Options:
    """Drop options that equal an earlier one at every width."""
    first: dict[tuple[Share | None, ...], str] = {}
    for label, option in options.items():
        first.setdefault(tuple(shares.of(attribute) for attribute in option), label)
    return {label: options[label] for label in first.values()}


class _Surroundings:
    """The dimensions inside a module, and the cuts near it."""

    def __init__(self, graph: ChannelGraph, shares: Shares, path: str) -> None:
        self.graph, self.shares = graph, shares
        self.path = path
        self.prefix = f'{path}.' if path else ''
        names = sorted((n for n in graph.dims if n.startswith(self.prefix)), key=lambda name: name.count('.'))
        self.dims = [(name, axis) for name in names for axis, index in enumerate(graph.dims[name]) if index is not None]
        layouts = {index for name in names for index in graph.dims[name] if index is not None}
        self.groups = {group for index in layouts for group in np.unique(graph.layouts[index].groups).tolist()} - {-1}

    def of_number(self, name: str, keys: Keys, value: int) -> Options:
        """Return what a number may follow: a dimension, a part of a cut, or all that is cut."""
        options: Options = {}
        for parameter, axis in self.dims:
            for attribute in self._following(Attribute(self.path, name, parameter, axis, 1, keys), value):
                options[f'{parameter[len(self.prefix) :]}:{axis}'] = (attribute,)
        for rank, place in enumerate(self._near(_whole(cut) for cut in self.graph.cuts if sum(cut.lengths) == value)):
            options[f'whole {rank}'] = tuple(self._at(place, name, keys, value))
        parts = (cut.parts[cut.lengths.index(value)] for cut in self.graph.cuts if value in cut.lengths)
        for rank, place in enumerate(self._near(parts)):
            options[f'part {rank}'] = tuple(self._at(place, name, keys, value))
        if not options:
            for rank, place in enumerate(self._near(c.parts[0] for c in self.graph.splits if value in c.lengths)):
                options[f'split {rank}'] = tuple(self._at(place, name, keys, value))
        return options

    def of_numbers(self, name: str, keys: Keys, values: Sequence[int]) -> Options:
        """Return what the elements of a sequence may follow: each a dimension, or all the parts of a cut."""
        cuts = [cut for cut in self.graph.cuts if cut.lengths == tuple(values)]
        places = [self._near(cut.parts[index] for cut in cuts) for index in range(len(values))]
        mixed: list[Attribute] = []
        parts: list[Attribute] = []
        for index, value in enumerate(values):
            own = [Attribute(self.path, name, parameter, axis, 1, (*keys, index)) for parameter, axis in self.dims]
            inside = [found for attribute in own for found in self._following(attribute, value)]
            beside = [found for place in places[index][:1] for found in self._at(place, name, (*keys, index), value)]
            mixed += (inside or beside)[:1]
            parts += beside
        options = {'sizes': tuple(mixed), 'parts': tuple(parts)}
        splits = self._near(cut.parts[0] for cut in self.graph.splits if cut.lengths[-len(values) :] == tuple(values))
        for rank, place in enumerate(splits):
            each = [self._at(place, name, (*keys, index), value) for index, value in enumerate(values)]
            options[f'split {rank}'] = tuple(attribute for found in each for attribute in found)
        return options

    def _at(self, place: DimSlice, name: str, keys: Keys, value: int) -> Iterator[Attribute]:
        span = (place.start, place.stop)
        yield from self._following(Attribute(self.path, name, place.parameter, place.axis, 1, keys, span), value)

    def _following(self, attribute: Attribute, value: int) -> Iterator[Attribute]:
        """Yield an attribute with its divisor, if its value is a share of its dimension at every width."""
        size = self._size(attribute)
        if value > 1 and size % value == 0:
            found = replace(attribute, divisor=size // value)
            if self.shares.of(found) is not None:
                yield found

    def _size(self, attribute: Attribute) -> int:
        if attribute.span is not None:
            return attribute.span[1] - attribute.span[0]
        index = self.graph.dims[attribute.parameter][attribute.axis]
        return len(self.graph.layouts[-1 if index is None else index])

    def _near(self, places: Iterable[DimSlice | None]) -> list[DimSlice]:
        """Return the nearest places that can change: those whose channels reach the module, then those of near layers."""
        dims = self.graph.dims
        found = [p for p in places if p and dims.get(p.parameter, (None,) * 9)[p.axis] is not None]
        found.sort(key=lambda place: (not self._reached(place), -_common(place.parameter, self.path)))
        return found[:_MOST_CUTS]

    def _reached(self, place: DimSlice) -> bool:
        span = (place.start, place.stop)
        layout = _layout(self.graph, Attribute('', '', place.parameter, place.axis, 1, (), span))
        return not self.groups.isdisjoint(layout.groups.tolist())


def _whole(cut: Cut) -> DimSlice | None:
    """Return the positions that a cut cuts, if they follow each other."""
    first, last = cut.parts[0], cut.parts[-1]
    if first is None or last is None or first.stop - first.start + last.stop - last.start > sum(cut.lengths):
        return None
    whole = replace(first, stop=first.start + sum(cut.lengths))
    return whole if replace(last, start=first.start) == whole else None


def _common(left: str, right: str) -> int:
    """Return how many leading parts two names share."""
    count = 0
    for first, second in zip(left.split('.'), right.split('.')):
        if first != second:
            break
        count += 1
    return count


def _layout(graph: ChannelGraph, attribute: Attribute) -> Layout:
    index = graph.dims[attribute.parameter][attribute.axis]
    layout = graph.layouts[-1 if index is None else index]
    start, stop = attribute.span or (0, len(layout))
    return Layout(layout.groups[start:stop], layout.channels[start:stop])


def _share(graph: ChannelGraph, attribute: Attribute) -> Share | None:
    """Describe a share: its groups, how often each occurs, and its fixed positions.

    None if it is not whole at every width, or never changes.
    """
    layout = _layout(graph, attribute)
    free = layout.groups >= 0
    fixed = int((~free).sum())
    if not free.any() or fixed % attribute.divisor:
        return None
    both = np.stack([layout.groups[free], layout.channels[free]])
    channels, counts = np.unique(both, axis=1, return_counts=True)
    if (counts % attribute.divisor).any():
        return None
    groups, first, number = np.unique(channels[0], return_index=True, return_counts=True)
    shares = (counts[first] // attribute.divisor, np.array([fixed // attribute.divisor]))
    return groups.tobytes(), number.tobytes(), *(share.tobytes() for share in shares)
