"""Which channel groups the choices of an NNI space govern, read from the sizes of its own networks."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import first_line
from ..graph import ChannelGraph
from ..utils import LateProgress, pass_on
from .bins import BinnedGroup, FlopsSensitiveBins
from .nni_choices import NniNetworks
from .width_labels import Array, ChoiceLabels, GroupTable

__all__ = ['governed_groups', 'refuse_width_rules']

_logger = logging.getLogger(__name__)

Sample = dict[str, int]

_MOST = 4096
"""Largest number of combinations of values that one group may depend on."""


class _NoWidthError(Exception):
    """What a sample changes besides widths, in words."""


class _Sizes:
    """Reads widths of groups off the sizes of a network's tensors."""

    def __init__(self, graph: ChannelGraph, full: Mapping[str, tuple[int, ...]]) -> None:
        self._full = full
        self._graph = graph
        self._reasons = {fixed.label: fixed.reason for fixed in graph.fixed}
        self._parts = [self._part(layout.groups) for layout in graph.layouts]

    def _part(self, groups: Array) -> tuple[dict[int, int], int]:
        """Return how often a dimension has each channel of a group, and how many fixed positions."""
        found, counts = np.unique(groups, return_counts=True)
        repeats = {int(g): int(n) // self._graph.groups[g].width for g, n in zip(found, counts) if g >= 0}
        return repeats, int((groups < 0).sum())

    def widths(self, sizes: Mapping[str, tuple[int, ...]]) -> Array:
        """Return the widths of the groups, shape (groups,); raise if something else changes."""
        if [*sizes] != [*self._full]:
            raise _NoWidthError('adds or removes layers')
        equations = list(self._equations(sizes))
        known: dict[int, tuple[int, str]] = {}
        while True:
            left = []
            for where, size, repeats, fixed in equations:
                rest = size - fixed - sum(n * known[g][0] for g, n in repeats.items() if g in known)
                unknown = [g for g in repeats if g not in known]
                if len(unknown) > 1:
                    left.append((where, size, repeats, fixed))
                elif unknown and rest > 0 and rest % repeats[unknown[0]] == 0:
                    known[unknown[0]] = rest // repeats[unknown[0]], where
                elif unknown or rest != 0:
                    raise _NoWidthError(self._contradiction(where, size, repeats, known))
            if len(left) == len(equations):
                break
            equations = left
        missing = [group.label for index, group in enumerate(self._graph.groups) if index not in known]
        if missing:
            raise _NoWidthError(f'leaves open how many channels {missing[0]} has: its layers join several widths')
        return np.array([known[index][0] for index in range(len(self._graph.groups))], np.int64)

    def _equations(self, sizes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, int, dict[int, int], int]]:
        for name, full in self._full.items():
            dims = self._graph.dims.get(name, (None,) * len(full))
            for axis, index in enumerate(dims):
                if len(sizes[name]) != len(full):
                    raise _NoWidthError(f'changes the layer of {name}')
                if index is not None:
                    yield name, sizes[name][axis], *self._parts[index]
                elif sizes[name][axis] != full[axis]:
                    raise _NoWidthError(self._fixed(name, axis))

    def _fixed(self, name: str, axis: int) -> str:
        layer = name.rpartition('.')[0]
        if axis > 1:
            return f'changes {name} beyond its channels'
        reason = self._reasons.get(layer)
        return f'changes {name}, whose channels are fixed' + (f': {reason}' if reason else '')

    def _contradiction(self, where: str, size: int, repeats: Mapping[int, int], known: Mapping[int, Any]) -> str:
        others = [known[g] for g in repeats if g in known]
        layer = where.rpartition('.')[0]
        if not others:
            return f'makes a dimension of {where} {size}, which its channels do not divide'
        width, other = others[0]
        return (
            f'gives {other.rpartition(".")[0]} {width} channels, but {layer}, which must have as many, has another number '
            f'({size} of {where})'
        )


def governed_groups(
    graph: ChannelGraph, networks: NniNetworks
) -> tuple[ChannelGraph, tuple[BinnedGroup, ...], ChoiceLabels]:
    """Return the graph with the groups that some choice governs, the widths of each, and the labels.

    Raises TypeError, with the remedy, if a choice changes anything but widths, or the widths that it sets contradict each
    other.
    """
    read = _Sizes(graph, networks.sizes({}))
    found = _Found(networks, read)
    governed = found.governed()
    reason = f'no choice of {type(networks.space).__name__} sets it'
    own = [index for index, labels in enumerate(governed) if labels]
    if not own:
        raise ValueError(
            f'No choice of {type(networks.space).__name__} changes a width, so there is nothing to search. Give '
            'sample={label: value} for all choices, so that the widths of that network are binned.'
        )
    names = [graph.labels[index] for index in own]
    kept = graph.with_fixed({label: reason for label in graph.labels if label not in names})
    tables = found.tables([governed[index] for index in own], own, [graph.groups[index].least_width for index in own])
    groups = []
    for name, table in zip(names, tables):
        widths = np.unique(table.widths).tolist()
        groups.append(BinnedGroup(name, widths[-1], math.gcd(*widths), tuple(widths)))
    return kept, tuple(groups), ChoiceLabels(found.values, tables)


class _Found:
    """Reads the widths at samples, each once."""

    def __init__(self, networks: NniNetworks, read: _Sizes) -> None:
        self._networks = networks
        self.values = dict(networks.values)
        self._read = read
        self._known: list[tuple[Sample, Array]] = []

    def _at(self, sample: Sample) -> Array:
        whole = {**self._networks.largest, **sample}
        try:
            sizes = self._networks.sizes(whole)
        except Exception as error:
            pass_on(error)
            reason = first_line(error)
            layers = self._networks.shown_groups() if 'divisible' in reason else ''
            raise _NoWidthError(f'makes no network: {reason}' + (f'; {layers}' if layers else '')) from error
        widths = self._read.widths(sizes)
        self._known.append((whole, widths))
        return widths

    def governed(self) -> list[tuple[str, ...]]:
        """Return the labels that each group depends on."""
        full = self._at({})
        depends: list[list[str]] = [[] for _ in full]
        reasons, unused = dict[str, str](), list[str]()
        several = {label: values for label, values in self.values.items() if len(values) > 1}
        with LateProgress('Finding the layers that choices govern', len(several), 'choices') as progress:
            for label, values in several.items():
                progress.step()
                try:
                    changed = np.flatnonzero(self._at({label: values[0]}) != full)
                except _NoWidthError as error:
                    reasons[label] = f'{values[0]!r} {error}'
                    continue
                if len(changed) == 0 and self._networks.is_unused(label):
                    unused.append(label)
                elif len(changed) == 0:
                    reasons[label] = 'changes no number of channels'
                for index in changed:
                    depends[index].append(label)
        if reasons:
            raise self._networks.refusal(reasons)
        if unused:
            _logger.info('Choices that no layer of this network uses keep their largest value: %s.', ', '.join(unused))
            self.values.update((label, self.values[label][-1:]) for label in unused)
        return [tuple(labels) for labels in depends]

    def tables(
        self, governed: Sequence[tuple[str, ...]], groups: Sequence[int], least: Sequence[int]
    ) -> list[GroupTable]:
        """Return the widths of groups at all values of the labels that govern them."""
        for labels in set(governed):
            number = math.prod(len(self.values[label]) for label in labels)
            if number > _MOST:
                reason = f'together {number} combinations set the width of one layer, above {_MOST}'
                raise self._networks.refusal(dict.fromkeys(labels, reason))
        self._cover(list(dict.fromkeys(governed)))
        columns = list(self.values)
        result = []
        for labels, group, smallest in zip(governed, groups, least):
            widths = np.zeros([len(self.values[label]) for label in labels], np.int64)
            for sample, found in self._known:
                place = tuple(self.values[label].index(sample[label]) for label in labels)
                if widths[place] not in (0, found[group]):
                    raise self._refused(labels, 'depends on further choices')
                widths[place] = found[group]
            if any((np.diff(widths, axis=axis) < 0).any() for axis in range(widths.ndim)):
                raise self._refused(labels, 'a layer gets fewer channels when the value grows')
            if widths.min() < smallest:
                raise self._refused(labels, f'a layer gets {widths.min()} channels, and runs with {smallest} or more')
            result.append(GroupTable(tuple(columns.index(label) for label in labels), widths))
        return result

    def _refused(self, labels: Sequence[str], reason: str) -> TypeError:
        return self._networks.refusal(dict.fromkeys(labels, reason))

    def _cover(self, governed: Sequence[tuple[str, ...]]) -> None:
        """Read widths until every combination of values has been seen of the labels of every group."""
        missing = {
            labels: dict.fromkeys(itertools.product(*(self.values[label] for label in labels))) for labels in governed
        }
        for seen, _ in self._known:
            _cross_off(missing, seen)
        most = sum(map(len, missing.values()))
        with LateProgress('Reading the widths of the choices', most, 'networks') as progress:
            while any(missing.values()):
                progress.step()
                self._read_more(missing)

    def _read_more(self, missing: Mapping[tuple[str, ...], dict[Any, None]]) -> None:
        """Read the widths of a network with as many missing combinations as possible."""
        sample: Sample = {}
        for labels, combinations in missing.items():
            fits = (each for each in combinations if all(sample.get(a, v) == v for a, v in zip(labels, each)))
            sample.update(zip(labels, next(fits, ())))
        try:
            self._at(sample)
        except _NoWidthError as error:
            changed = {label: v for label, v in sample.items() if v != self._networks.largest[label]}
            raise self._refused(list(changed), f'{changed} {error}') from None
        _cross_off(missing, self._known[-1][0])


def _cross_off(missing: Mapping[tuple[str, ...], dict[Any, None]], sample: Sample) -> None:
    for labels, combinations in missing.items():
        combinations.pop(tuple(sample[label] for label in labels), None)


def refuse_width_rules(**rules: Any) -> None:
    """Raise ValueError if a rule for widths is given with a space that lists its widths itself."""
    defaults = {'bins': (None, FlopsSensitiveBins()), 'min_ratio': (0.1,), 'max_ratio': (1.0,), 'divisor': (1,)}
    for name, value in rules.items():
        if value not in defaults[name]:
            raise ValueError(
                f'{name}={value!r} has no effect: the choices of the NNI space list its widths. Leave it out, or give '
                'sample={label: value} for all choices, so that the widths of that network are binned.'
            )
