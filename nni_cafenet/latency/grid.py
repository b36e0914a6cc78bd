"""Measurement grids of operators, and the table terms built from their times."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .interpolation import Axis, Monomial, Sum, Term, monotone, spread
from .recorded_ops import Operator
from .symbolic_sizes import SymbolicOp

__all__ = ['Grid', 'Region', 'grid_of', 'terms_of']

Array = NDArray[np.int64]
Times = Callable[[Operator], int]

_MOST_AXES = 2  # with more, an operator is tabulated by the number of its elements


@dataclass(frozen=True)
class Region:
    """The widths that a table covers, with a largest number of points along an axis."""

    choices: Mapping[str, Sequence[int]]
    points: int

    @property
    def smallest(self) -> Array:
        """The smallest width of each group, shape (groups,)."""
        return np.array([widths[0] for widths in self.choices.values()], np.int64)

    @property
    def full(self) -> Array:
        """The full width of each group, shape (groups,)."""
        return np.array([widths[-1] for widths in self.choices.values()], np.int64)

    def weights(self, row: Array) -> dict[str, int]:
        """Return a row of weights (groups,) as ``{label: weight}``, without zeros."""
        return {label: int(weight) for label, weight in zip(self.choices, row) if weight}


@dataclass(frozen=True)
class Grid:
    """An operator at some sizes: ``operators`` run at the points of the grid, the last axis fastest."""

    axes: tuple[Axis, ...]
    points: tuple[Array, ...]
    operators: tuple[Operator, ...]

    def times(self, times: Times) -> Array:
        """Return the times of the operators, ns, with one dimension per axis."""
        values = np.array([times(operator) for operator in self.operators], np.int64)
        return values.reshape([len(points) for points in self.points])


def grid_of(follower: SymbolicOp, region: Region) -> Grid | None:
    """Return what to measure of an operator; None if one of its tensors gets smaller when widths grow.

    An operator whose sizes follow one sum of widths, or two (a convolution: its inputs and outputs), is measured on a
    grid of these. One that follows more (a concatenation) is measured on the way from the smallest network to the full
    one, and tabulated by its number of elements.
    """
    directions: list[tuple[int, ...]] = []
    place, factor = [], []
    for row in follower.weights:
        divisor = math.gcd(*map(int, row)) if row.any() else 0
        direction = tuple((row // divisor).tolist()) if divisor else ()
        if direction and direction not in directions:
            directions.append(direction)
        place.append(directions.index(direction) if direction else -1)
        factor.append(divisor)
    moving = [d for d in directions if np.dot(d, region.full) > np.dot(d, region.smallest)]
    if len(moving) == len(directions) <= _MOST_AXES and all(min(direction) >= 0 for direction in directions):
        return _along(follower, region, directions, place, factor)
    return _by_elements(follower, region)


def _along(
    follower: SymbolicOp, region: Region, directions: Sequence[tuple[int, ...]], place: list[int], factor: list[int]
) -> Grid:
    weights = [region.weights(np.array(direction)) for direction in directions]
    points = []
    for direction, labels in zip(directions, weights):
        ends = [int(np.dot(direction, widths)) for widths in (region.smallest, region.full)]
        allowed = region.choices[next(iter(labels))] if len(labels) == 1 else None
        points.append(spread(ends[0], ends[1], region.points, allowed))

    def operator(values: tuple[int, ...]) -> Operator:
        moved = [times * int(values[index]) if index >= 0 else 0 for index, times in zip(place, factor)]
        return follower.of([int(fixed) + more for fixed, more in zip(follower.fixed, moved)])

    operators = tuple(operator(values) for values in itertools.product(*points))
    return Grid(tuple(Axis.of(labels) for labels in weights), tuple(points), operators)


def _by_elements(follower: SymbolicOp, region: Region) -> Grid | None:
    tensors = follower.tensors()
    if any((follower.weights[shape] < 0).any() for shape in tensors):
        return None
    axis = Axis(
        tuple(
            Monomial(tuple(Sum(region.weights(follower.weights[i]), int(follower.fixed[i])) for i in shape))
            for shape in tensors
        )
    )
    steps = np.linspace(0, 1, max(region.points, 2))[:, None]
    way = np.rint(region.smallest + steps * (region.full - region.smallest)).astype(np.int64)
    elements, first = np.unique(axis.at(dict(zip(region.choices, way.T))), return_index=True)
    if len(elements) == 1:
        return Grid((), (), (follower.at(region.full),))
    return Grid((axis,), (elements,), tuple(follower.at(way[index]) for index in first))


def terms_of(grids: Iterable[Grid], times: Times) -> tuple[int, list[Term]]:
    """Return the constant time, ns, and the terms of all other operators; terms with equal axes are merged."""
    constant = 0
    sums: dict[Any, Array] = defaultdict(lambda: np.zeros((), np.int64))
    first: dict[Any, Grid] = {}
    for grid, values in _monotone(grids, times):
        if not grid.axes:
            constant += int(values)
            continue
        key = repr([grid.axes, [points.tolist() for points in grid.points]])
        first.setdefault(key, grid)
        sums[key] = sums[key] + values
    return constant, [Term(grid.axes, grid.points, sums[key]) for key, grid in first.items()]


def _monotone(grids: Iterable[Grid], times: Times) -> Iterator[tuple[Grid, Array]]:
    for grid in grids:
        yield grid, monotone(grid.times(times))
