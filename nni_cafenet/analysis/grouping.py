"""Solve the constraints: channels that occur equally often in the same dimensions form a group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..graph import ChannelGraph, ChannelGroup, CostModel, FixedChannels, Layout, Listing, Polynomial, PositionTable
from .constraints import TOGETHER, Constraints, Ids, layer_of

__all__ = ['group_channels']

Array = NDArray[np.int64]


def group_channels(constraints: Constraints, parameters: Sequence[str]) -> ChannelGraph:
    """Solve the constraints of a model.

    Parameters
    ----------
    constraints
        What the rules stated.
    parameters
        Names of the parameters, each tensor once; what else is registered are buffers.
    """
    return _Grouping(constraints).graph(parameters)


class _Grouping:
    """The steps of the solution, in order. A *component* is a set of positions kept or removed as one."""

    def __init__(self, constraints: Constraints) -> None:
        self.constraints = constraints
        self.component = constraints.component_of()
        self.reasons = self._fixed_components()
        self.dims: dict[tuple[str, int], Ids] = {
            (name, axis): dim
            for name, symbol in constraints.parameters.items()
            for axis, dim in enumerate(symbol.dims)
            if dim is not None
        }
        self.group_of, self.channel_of, self.first_dims = self._group()
        self.widths = np.bincount(self.group_of[self.group_of >= 0], minlength=len(self.first_dims)).astype(np.int64)

    def _fixed_components(self) -> dict[int, str]:
        reasons: dict[int, str] = {}
        for dim, reason in [*self.constraints.fixed, *self.constraints.unverified]:
            for component in np.unique(self.component[dim]).tolist():
                if not reasons.get(component):
                    reasons[component] = reason
        return reasons

    def _group(self) -> tuple[Array, Array, list[tuple[str, int]]]:
        """Return the group of each component (-1 if fixed), its place in the group, and the first dim of each group."""
        number = int(self.component.max(initial=-1)) + 1
        signature = self._signatures(number)
        group_of = np.full(number, -1, dtype=np.int64)
        channel_of = np.zeros(number, dtype=np.int64)
        members: dict[int, list[int]] = {}
        first_dims: dict[int, tuple[str, int]] = {}
        seen = np.zeros(number, dtype=bool)
        seen[list(self.reasons)] = True
        produced = dict.fromkeys(self.constraints.produced)
        for key in [*produced, *(key for key in self.dims if key not in produced)]:
            if key not in self.dims:
                continue
            unseen = self.component[self.dims[key]]
            unseen = unseen[~seen[unseen]]
            components, first = np.unique(unseen, return_index=True)
            components = components[np.argsort(first)]
            for component in components.tolist():
                if key not in produced:
                    self.reasons[component] = 'is made by no layer'  # a table of constants, read by a layer
                else:
                    found = int(signature[component])
                    first_dims.setdefault(found, key)
                    members.setdefault(found, []).append(component)
            seen[components] = True
        kept = [found for found in first_dims if len(members[found]) > 1]
        for found in first_dims:
            if len(members[found]) == 1:
                component = members[found][0]
                dim = self.dims[first_dims[found]]
                whole = len(dim) > 1 and bool((self.component[dim] == component).all())
                self.reasons[component] = TOGETHER if whole else 'is a single channel'
        for index, found in enumerate(kept):
            group_of[members[found]] = index
            channel_of[members[found]] = np.arange(len(members[found]))
        return group_of, channel_of, [first_dims[found] for found in kept]

    def _signatures(self, number: int) -> Array:
        """Number the components; those that occur equally often in the same dimensions share a number."""
        signature = np.zeros(number, dtype=np.int64)
        used = 0
        costs = [dim for term in self.constraints.costs for dim in (*term.dims, term.vanishing) if dim is not None]
        told: set[bytes] = set()  # most dimensions equal others
        for dim in [*self.dims.values(), *costs]:
            standing = self.component[dim]
            if (key := standing.tobytes()) in told:
                continue
            told.add(key)
            components, counts = np.unique(standing, return_counts=True)
            pairs = signature[components] * (len(standing) + 1) + counts
            classes, index = np.unique(pairs, return_inverse=True)
            signature[components] = used + 1 + index.reshape(-1)
            used += len(classes)
        return signature

    def graph(self, parameters: Sequence[str]) -> ChannelGraph:
        layouts: list[Layout] = []
        known: dict[tuple[bytes, bytes], int] = {}

        def index_of(dim: Ids) -> int | None:
            """Return the index of the layout of a dimension; None if it never changes."""
            components = self.component[dim]
            groups, channels = self.group_of[components], self.channel_of[components]
            if (groups < 0).all():
                return None
            key = (groups.tobytes(), channels.tobytes())
            if key not in known:
                known[key] = len(layouts)
                layouts.append(Layout(groups, np.where(groups < 0, 0, channels)))
            return known[key]

        dims: dict[str, list[int | None]] = {}
        for (name, axis), dim in self.dims.items():
            index = index_of(dim)
            if index is not None:
                shape = self.constraints.parameters[name].shape
                dims.setdefault(name, [None] * len(shape))[axis] = index
        tables = []
        for (module, name), (dim, values) in self.constraints.tables.items():
            index = index_of(dim)
            if index is not None:
                tables.append(PositionTable(module, name, index, values))
        cost = self._cost(parameters)
        frozen_dims = {name: tuple(indices) for name, indices in dims.items()}
        return ChannelGraph(
            groups=self._groups(cost),
            fixed=self._fixed(),
            dims=frozen_dims,
            layouts=tuple(layouts),
            attributes=tuple(
                attribute
                for attribute in self.constraints.attributes
                if frozen_dims.get(attribute.parameter, (None,) * 9)[attribute.axis] is not None
            ),
            cost=cost,
            cuts=tuple(self.constraints.cuts),
            value_dependent_sizes=self.constraints.recorded,
            differs_in_training=self.constraints.differs_in_training,
            tables=tuple(tables),
            splits=tuple(dict.fromkeys(self.constraints.splits)),
            channel_kernels=tuple(dict.fromkeys(kernel for _, kernel in self.constraints.ordered)),
            produced=tuple((name, axis) for name, axis in self.constraints.produced if name in frozen_dims),
        )

    def _groups(self, cost: CostModel) -> Listing[ChannelGroup]:
        labels = _distinct([_layer(name) for name, _ in self.first_dims])
        produced, read = set(self.constraints.produced), set(self.constraints.read)
        found: list[tuple[dict[str, None], dict[str, None], dict[str, None]]] = [({}, {}, {}) for _ in labels]
        for (name, axis), dim in self.dims.items():
            kind = 0 if (name, axis) in produced else 1 if (name, axis) in read else 2
            for index in np.unique(self.group_of[self.component[dim]]).tolist():
                if index >= 0:
                    found[index][kind][_layer(name)] = None
        channel_mixing = self._groups_in(self.constraints.channel_mixing)
        ordered = self._groups_in([dim for dim, _ in self.constraints.ordered])
        least = self._least_widths()
        return Listing(
            ChannelGroup(
                label=label,
                width=int(width),
                producers=tuple(producers),
                consumers=tuple(consumers),
                others=tuple(name for name in others if name not in producers and name not in consumers),
                macs_per_channel=int(macs),
                channel_mixing=index in channel_mixing,
                ordered=index in ordered,
                least_width=least.get(index, 1),
            )
            for index, (label, width, (producers, consumers, others), macs) in enumerate(
                zip(labels, self.widths, found, cost.macs_per_channel(self.widths))
            )
        )

    def _groups_in(self, dims: Sequence[Ids]) -> set[int]:
        return {int(group) for dim in dims for group in np.unique(self.group_of[self.component[dim]])}

    def _least_widths(self) -> dict[int, int]:
        """Return the smallest width of groups that are all there is in a dimension with a least size."""
        least: dict[int, int] = {}
        for dim, size in self.constraints.at_least:
            components = self.component[dim]
            groups = np.unique(self.group_of[components])
            if len(groups) == 1 and groups[0] >= 0 and len(np.unique(components)) == len(components):
                index = int(groups[0])
                least[index] = max(least.get(index, 1), min(size, int(self.widths[index])))
        return least

    def _fixed(self) -> Listing[FixedChannels]:
        fixed = []
        told: set[tuple[str, bytes]] = set()
        for name, axis in self.constraints.produced:
            dim = self.dims.get((name, axis))
            if dim is None:
                fixed.append(FixedChannels(_layer(name), 1, 'is a single channel'))
                continue
            components = self.component[dim]
            stuck = components[self.group_of[components] < 0]
            if (key := (_layer(name), stuck.tobytes())) in told:  # another weight of the layer makes the same channels
                continue
            told.add(key)
            reasons = dict.fromkeys(self.reasons.get(component, '') for component in stuck.tolist())
            if len(stuck):
                why = '; '.join(reason for reason in reasons if reason) or 'is tied to channels that never change'
                fixed.append(FixedChannels(_layer(name), len(stuck), why))
        return Listing(fixed)

    def _cost(self, parameters: Sequence[str]) -> CostModel:
        sizes = _Sizes(self.group_of, self.widths)
        terms: dict[tuple[int, ...], int] = {}
        for term in self.constraints.costs:
            constant = term.constant
            factors: list[int] = []
            for positions in term.dims:
                components = self.component[positions]
                if (self.group_of[components] < 0).all():
                    constant *= len(positions)
                else:
                    factors.append(sizes.index(components))
            if term.vanishing is not None:
                factors.append(sizes.index(self.component[term.vanishing], vanishing=True))
            _add(terms, constant, factors)
        macs = _polynomial(terms)
        terms = {}
        for name in parameters:
            symbol = self.constraints.parameters.get(name)
            if symbol is not None:
                tracked = [sizes.index(self.component[dim]) for dim in symbol.dims if dim is not None]
                constant = 1
                for size, dim in zip(symbol.shape, symbol.dims):
                    constant *= size if dim is None else 1
                _add(terms, constant, tracked)
        params = _polynomial(terms)
        weights, fixed, vanishing = sizes.matrix()
        return CostModel(weights, fixed, macs, params, vanishing)


class _Sizes:
    """The distinct sizes ``fixed + weights @ widths`` that costs are made of."""

    def __init__(self, group_of: Array, widths: Array) -> None:
        self.group_of = group_of
        self.widths = widths
        self.rows: dict[tuple[int, ...], int] = {}

    def index(self, components: Array, vanishing: bool = False) -> int:
        groups = self.group_of[components]
        counts = np.bincount(groups[groups >= 0], minlength=len(self.widths)) // self.widths
        row = (int(vanishing), int((groups < 0).sum()), *counts.tolist())
        return self.rows.setdefault(row, len(self.rows))

    def matrix(self) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Return weights, fixed channels and which sizes vanish, for `CostModel`."""
        rows = np.array(list(self.rows), dtype=np.int64).reshape(len(self.rows), len(self.widths) + 2)
        return np.ascontiguousarray(rows[:, 2:]), np.ascontiguousarray(rows[:, 1]), rows[:, 0] > 0


def _add(terms: dict[tuple[int, ...], int], constant: int, factors: list[int]) -> None:
    key = tuple(sorted(factors))
    terms[key] = terms.get(key, 0) + constant


def _polynomial(terms: dict[tuple[int, ...], int]) -> Polynomial:
    degree = max((len(key) for key in terms), default=0)
    factors = np.array([(*key, *(-1,) * (degree - len(key))) for key in terms], dtype=np.int64)
    return Polynomial(np.array(list(terms.values()), dtype=np.int64), factors.reshape(len(terms), degree))


def _layer(parameter: str) -> str:
    """Return the name of the layer that owns a parameter; the parameter's own if the model itself does."""
    return layer_of(parameter) or parameter


def _distinct(names: Sequence[str]) -> list[str]:
    """Number repeated names: conv, conv:2."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f'{name}:{seen[name]}')
    return result
