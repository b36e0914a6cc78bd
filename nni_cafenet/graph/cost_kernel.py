"""Cost polynomials compiled to sparse matrix products: exact in double precision.

With a constant size 1 added, a sum of products of at most two sizes is ``sum((C @ s) * s[rows])`` for a sparse matrix
``C``, and the sizes ``s`` are a sparse product too: a few calls per chunk, where `Polynomial` needs three per term.

Doubles represent integers up to 2**53, so sums of integer products are exact, in any order, while no partial sum leaves
this range. `largest_width` bounds the widths for which that holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ['EXACT_IN_DOUBLE', 'CompiledCost', 'largest_width', 'merge_products']

Array = NDArray[np.int64]
Doubles = NDArray[np.float64]
Products = Mapping[tuple[int, ...], int]
"""``{sizes that are multiplied: constant}``."""

EXACT_IN_DOUBLE = 2**53
"""Double precision represents every integer up to here."""


def merge_products(constants: Array, factors: Array) -> dict[tuple[int, ...], int]:
    """Collect equal products of a `Polynomial`."""
    products: dict[tuple[int, ...], int] = {}
    for constant, row in zip(constants.tolist(), factors.tolist()):
        key = tuple(sorted(size for size in row if size >= 0))
        products[key] = products.get(key, 0) + constant
    return products


def largest_width(products: Products, weights: Array, fixed: Array, limit: int) -> int:
    """Return the largest width at which no part of a sum of products can exceed ``limit``.

    Parameters
    ----------
    products
        As returned by `merge_products`.
    weights, fixed
        Sizes ``fixed + weights @ widths``, as in `CostModel`.
    limit
        The largest allowed integer.

    Returns
    -------
    int
        The width, in channels; -1 if even width 0 may exceed the limit.
    """
    slopes, starts = [[int(n) for n in values] for values in (weights.sum(axis=1), fixed)]

    def most(width: int) -> int:
        # A zero factor would hide large ones, so each counts as at least 1.
        sizes = [max(1, start + slope * width) for slope, start in zip(slopes, starts)]
        total = 0
        for factors, constant in products.items():
            largest = abs(constant)
            for factor in factors:
                largest *= sizes[factor]
            total += largest
        return total

    low, high = -1, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if most(middle) <= limit else (low, middle - 1)
    return low


class CompiledCost:
    """A cost polynomial compiled for many widths.

    Parameters
    ----------
    products
        As returned by `merge_products`.
    weights, fixed, vanishing
        As in `CostModel`.

    Attributes
    ----------
    largest : int
        Largest width, in channels, for which results are exact.
    """

    def __init__(self, products: Products, weights: Array, fixed: Array, vanishing: NDArray[np.bool_] | None) -> None:
        self.largest = largest_width(products, weights, fixed, EXACT_IN_DOUBLE)
        used = sorted({size for factors in products for size in factors})
        place = {size: index for index, size in enumerate(used, start=1)}  # 0 is the size that is always 1
        self._sizes = _sparse(
            [
                (0, weights.shape[1], 1),
                *(
                    (place[size], int(group), int(weights[size, group]))
                    for size, group in zip(*np.nonzero(weights))
                    if size in place
                ),
                *((place[size], weights.shape[1], int(fixed[size])) for size in used if fixed[size]),
            ],
            (len(used) + 1, weights.shape[1] + 1),
        )
        vanish = [place[size] for size in used if vanishing is not None and vanishing[size]]
        self._vanishing = np.array(vanish, dtype=np.int64)
        pairs, self._longer = _as_pairs(
            {tuple(place[size] for size in key): c for key, c in products.items()}, len(used) + 1
        )
        rows, entries = _rows(pairs)
        self._rows = np.array(rows, dtype=np.int64)
        columns = len(used) + 1 + sum(len(left) for left, _ in self._longer)
        self._inner = _sparse(entries, (len(rows), columns))

    def __call__(self, widths: Array) -> Array:
        """Evaluate at widths (N, groups); returns (N,). N should be small enough for the cache."""
        groups = np.empty((widths.shape[1] + 1, len(widths)))
        groups[:-1], groups[-1] = widths.T, 1
        sizes: Doubles = self._sizes @ groups
        for row in self._vanishing:
            sizes[row][sizes[row] == 1] = 0
        for left, right in self._longer:
            sizes = np.concatenate([sizes, sizes[left] * sizes[right]])
        total: Doubles = np.einsum('ij,ij->j', self._inner @ sizes, sizes[self._rows])
        return total.astype(np.int64)


def _as_pairs(products: Products, sizes: int) -> tuple[dict[tuple[int, int], int], list[tuple[Array, Array]]]:
    """Reduce products to pairs, adding products of two sizes as new sizes; size 0 is the constant 1.

    Returns the coefficients of the pairs, and the index pairs of the new sizes, in order.
    """
    longer: list[tuple[Array, Array]] = []
    while any(len(key) > 2 for key in products):
        new: dict[tuple[int, int], int] = {}
        shorter: dict[tuple[int, ...], int] = {}
        for key, constant in products.items():
            if len(key) > 2:
                key = (*key[2:], new.setdefault((key[0], key[1]), sizes + len(new)))
            shorter[key] = shorter.get(key, 0) + constant
        products, sizes = shorter, sizes + len(new)
        left, right = np.array(list(new), dtype=np.int64).T
        longer.append((left, right))
    pairs: dict[tuple[int, int], int] = {}
    for key, constant in products.items():
        first, second = sorted((*key, 0, 0)[:2])
        pairs[first, second] = pairs.get((first, second), 0) + constant
    return pairs, longer


def _rows(pairs: Mapping[tuple[int, int], int]) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Cover all pairs by few sizes (greedily); return these and (index, other size, constant) of each pair."""
    often = Counter(size for pair in pairs for size in pair)
    rows: dict[int, int] = {}
    entries = []
    for pair, constant in sorted(pairs.items()):
        row = max(pair, key=lambda size: (size in rows, often[size], size))
        entries.append((rows.setdefault(row, len(rows)), pair[0] + pair[1] - row, constant))
    return list(rows), entries


def _sparse(entries: list[tuple[int, int, int]], shape: tuple[int, int]) -> Any:
    from scipy.sparse import csr_matrix  # on first use: it takes longer to import than a cost to compute

    rows, columns, values = np.array(entries, dtype=np.float64).reshape(-1, 3).T
    return csr_matrix((values, (rows.astype(np.int64), columns.astype(np.int64))), shape=shape)
