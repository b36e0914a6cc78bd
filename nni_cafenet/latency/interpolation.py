"""Times on a grid, interpolated at any widths: whole nanoseconds that never fall when a width grows.

All is done in integers, so that the same table gives the same times on every machine, to the nanosecond.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ['Axis', 'Monomial', 'Sum', 'Term', 'monotone', 'spread', 'summed']

Array = NDArray[np.int64]


def monotone(times: NDArray[Any]) -> Array:
    """Return times (int64) that do not fall along any axis of their grid; unchanged if they already do not.

    They are halfway between the smallest such table above and the largest below.
    """
    above, below = np.asarray(times, np.int64), np.asarray(times, np.int64)
    for axis in range(above.ndim):
        above = np.maximum.accumulate(above, axis)
        below = np.flip(np.minimum.accumulate(np.flip(below, axis), axis), axis)
    return (above + below) // 2


def spread(least: int, most: int, number: int, allowed: Sequence[int] | None = None) -> Array:
    """Return at most ``number`` ascending points from ``least`` to ``most``, both included.

    They are among ``allowed``, ascending numbers with both ends; None: any whole number.
    """
    even = np.linspace(least, most, max(number, 2))
    if allowed is not None:
        choices = np.asarray(allowed, np.int64)
        return np.unique(choices[np.abs(even[:, None] - choices).argmin(axis=1)])
    return np.unique(np.rint(even).astype(np.int64))


@dataclass(frozen=True)
class Sum:
    """A size that grows with widths: ``fixed + sum of weight * width``, weights above zero."""

    weights: Mapping[str, int]
    fixed: int = 0

    def at(self, widths: Mapping[str, Array]) -> Array | int:
        """Return the size at ``{label: widths (N,)}``."""
        return sum((weight * widths[label] for label, weight in self.weights.items()), start=self.fixed)


@dataclass(frozen=True)
class Monomial:
    """The number of elements of a tensor: a product of sizes."""

    factors: tuple[Sum, ...]

    def at(self, widths: Mapping[str, Array]) -> Array | int:
        """Return the product at ``{label: widths (N,)}``."""
        product: Array | int = 1
        for factor in self.factors:
            product = product * factor.at(widths)
        return product


@dataclass(frozen=True)
class Axis:
    """An axis of a table: a sum of products of widths, which never falls when one grows."""

    parts: tuple[Monomial, ...]

    @classmethod
    def of(cls, weights: Mapping[str, int]) -> Axis:
        """Make the axis of a weighted sum of widths."""
        return cls((Monomial((Sum(dict(weights)),)),))

    def at(self, widths: Mapping[str, Array]) -> Array:
        """Return the positions of widths ``{label: (N,)}`` on it, shape (N,)."""
        total: Array | int = 0
        for part in self.parts:
            total = total + part.at(widths)
        return np.asarray(total, np.int64)

    def to_json(self) -> Any:
        """Return it as JSON values."""
        return [[[factor.fixed, dict(factor.weights)] for factor in part.factors] for part in self.parts]

    @classmethod
    def from_json(cls, record: Any) -> Axis:
        """Read what `to_json` wrote."""
        return cls(
            tuple(
                Monomial(
                    tuple(Sum({str(k): int(n) for k, n in weights.items()}, int(fixed)) for fixed, weights in part)
                )
                for part in record
            )
        )


@dataclass(frozen=True)
class Term:
    """Times of operators that are tabulated on the same axes, in ns, at two or more ascending points along each."""

    axes: tuple[Axis, ...]
    points: tuple[Array, ...]
    times: Array

    def at(self, widths: Mapping[str, Array]) -> Array:
        """Interpolate linearly at ``{label: widths (N,)}``; ns, shape (N,). Outside of the points, the nearest counts.

        Each step rounds down to a whole nanosecond, which keeps the order.
        """
        places = [_place(axis.at(widths), points) for axis, points in zip(self.axes, self.points)]
        corners = {
            corner: self.times[tuple(index + step for (index, *_), step in zip(places, corner))]
            for corner in itertools.product((0, 1), repeat=len(places))
        }
        for _, part, whole in reversed(places):
            corners = {
                corner[:-1]: below + (corners[corner[:-1] + (1,)] - below) * part // whole
                for corner, below in corners.items()
                if corner[-1] == 0
            }
        return np.asarray(corners[()], np.int64)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            'axes': [axis.to_json() for axis in self.axes],
            'points': [points.tolist() for points in self.points],
            'ns': self.times.tolist(),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Term:
        """Read what `to_json` wrote."""
        return cls(
            tuple(Axis.from_json(axis) for axis in record['axes']),
            tuple(np.array(points, np.int64) for points in record['points']),
            np.array(record['ns'], np.int64),
        )


def _place(values: Array, points: Array) -> tuple[Array, Array, Array]:
    """Return the cell of each value, its offset in it, and the length of the cell."""
    inside = np.clip(values, points[0], points[-1])
    index = np.clip(np.searchsorted(points, inside, 'right') - 1, 0, len(points) - 2)
    return index, inside - points[index], points[index + 1] - points[index]


def summed(constant: int, terms: Iterable[Term], widths: Mapping[str, Array], rows: int) -> Array:
    """Return a constant time and those of terms at ``{label: widths (rows,)}``, summed; ns, shape (rows,)."""
    return sum((term.at(widths) for term in terms), start=np.full(rows, constant, np.int64))
