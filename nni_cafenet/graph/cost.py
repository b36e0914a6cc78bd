"""MACs and parameters of any widths, in closed form, of many widths at once.

One multiply-accumulate (MAC) counts as one. Convolutions, linear layers and matrix products count; normalization,
activations and biases do not: the convention of ``torch.utils.flop_counter``, halved, for one sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .cost_kernel import CompiledCost, largest_width, merge_products

__all__ = ['CostModel', 'Polynomial']

Array = NDArray[np.int64]

_CHUNK = 2048  # widths at a time: with what is computed on the way they stay in the cache of a core
_INT64 = 2**63 - 1


@dataclass(frozen=True)
class Polynomial:
    """A sum of products of sizes, evaluated product by product: the plain way, which defines what a cost is.

    Parameters
    ----------
    constants
        The constant factor of each product, shape (products,).
    factors
        Index of the sizes that each product multiplies, shape (products, at most a few); -1 for none.
    """

    constants: Array
    factors: Array

    def __call__(self, sizes: Array) -> Array:
        """Evaluate on sizes of shape (N, number of sizes), int64 or Python's integers; returns shape (N,), of the same."""
        total = np.zeros(len(sizes), dtype=sizes.dtype)
        for constant, factors in zip(self.constants, self.factors):
            value: Array = np.full(len(sizes), constant, dtype=sizes.dtype)
            for factor in factors:
                if factor >= 0:
                    value = value * sizes[:, factor]
            total += value
        return total

    def gradient(self, sizes: Array, weights: Array) -> Array:
        """Differentiate at ``sizes`` (number of sizes,) by every group.

        Parameters
        ----------
        sizes
            Where, shape (number of sizes,).
        weights
            How often a channel of a group stands in a size, shape (number of sizes, groups).

        Returns
        -------
        What one channel of each group adds, all others held, shape (groups,).
        """
        slopes = np.zeros(weights.shape[1], dtype=np.int64)
        for constant, factors in zip(self.constants, self.factors):
            used = [int(factor) for factor in factors if factor >= 0]
            for index, factor in enumerate(used):
                others = int(constant)
                for other in used[:index] + used[index + 1 :]:
                    others *= int(sizes[other])
                slopes += others * weights[factor]
        return slopes


@dataclass(frozen=True)
class CostModel:
    """MACs and parameters as polynomials of the widths of a model's groups.

    Every size is a whole number of channels: ``fixed + weights @ widths``.

    Parameters
    ----------
    weights
        How often a channel of each group stands in each size, shape (sizes, groups).
    fixed
        Channels that never change, shape (sizes,).
    macs, params
        The two polynomials of the sizes.
    vanishing
        Which sizes count as 0 where they are 1, shape (sizes,); None for none. ``torch.einsum`` multiplies element by
        element where a single position is left to sum over, which is no matrix product.
    """

    weights: Array
    fixed: Array
    macs: Polynomial
    params: Polynomial
    vanishing: NDArray[np.bool_] | None = None

    def sizes(self, widths: Array) -> Array:
        """Return the sizes of widths of shape (N, groups), shape (N, sizes); of integers as the widths are."""
        sizes = widths @ self.weights.T.astype(widths.dtype) + self.fixed
        return sizes if self.vanishing is None else np.where(self.vanishing & (sizes == 1), 0, sizes)

    def macs_of(self, widths: Array) -> Array:
        """MACs of one sample, for widths of shape (N, groups); shape (N,). Exact, or an OverflowError from 2**63 on."""
        return self._cost_of(self.macs, self._compiled_macs, widths)

    def params_of(self, widths: Array) -> Array:
        """Numbers of parameters, for widths of shape (N, groups); shape (N,). Exact, as `macs_of`."""
        return self._cost_of(self.params, self._compiled_params, widths)

    def _cost_of(self, polynomial: Polynomial, compiled: CompiledCost, widths: Array) -> Array:
        total = np.empty(len(widths), dtype=np.int64)
        for first in range(0, len(widths), _CHUNK):
            chunk = widths[first : first + _CHUNK]
            largest = max(int(chunk.max(initial=0)), -int(chunk.min(initial=0)))
            fast = largest <= compiled.largest
            total[first : first + _CHUNK] = compiled(chunk) if fast else self._plain(polynomial, chunk, largest)
        return total

    def _plain(self, polynomial: Polynomial, widths: Array, largest: int) -> Array:
        products = merge_products(polynomial.constants, polynomial.factors)
        if largest <= largest_width(products, self.weights, self.fixed, _INT64):
            return polynomial(self.sizes(widths))
        total = polynomial(self.sizes(widths.astype(object)))
        most = np.abs(total).max()
        if most > _INT64:
            raise OverflowError(f'widths: up to {largest} channels cost {most:.3g}, beyond 2**63; give smaller ones')
        return total.astype(np.int64)

    @cached_property
    def _compiled_macs(self) -> CompiledCost:
        return self._compiled(self.macs)

    @cached_property
    def _compiled_params(self) -> CompiledCost:
        return self._compiled(self.params)

    def _compiled(self, polynomial: Polynomial) -> CompiledCost:
        products = merge_products(polynomial.constants, polynomial.factors)
        return CompiledCost(products, self.weights, self.fixed, self.vanishing)

    def macs_per_channel(self, widths: Array) -> Array:
        """MACs of one channel of each group at ``widths`` (groups,); shape (groups,).

        Its own filters in every layer that makes it, and its slice of the input of every layer that reads it.
        """
        return self.macs.gradient(self.sizes(widths[None])[0], self.weights)
