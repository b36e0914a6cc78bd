"""MACs and parameters as polynomials of widths, evaluated for many widths at once.

MACs are those of convolutions, linear layers and matrix products for one sample, without normalization, activations and
biases: half of what ``torch.utils.flop_counter`` reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .cost_kernel import CompiledCost, largest_width, merge_products

__all__ = ['CostModel', 'Polynomial']

Array = NDArray[np.int64]

_CHUNK = 2048  # widths per batch; with intermediate results they fit a core's cache
_INT64 = 2**63 - 1


@dataclass(frozen=True)
class Polynomial:
    """A sum of products of sizes, evaluated term by term: the reference implementation.

    Parameters
    ----------
    constants
        Coefficient of each product, shape (products,).
    factors
        Indices of the sizes in each product, shape (products, largest degree), padded with -1.
    """

    constants: Array
    factors: Array

    def __call__(self, sizes: Array) -> Array:
        """Evaluate at sizes (N, sizes) of dtype int64 or object; returns (N,) of the same dtype."""
        total = np.zeros(len(sizes), dtype=sizes.dtype)
        for constant, factors in zip(self.constants, self.factors):
            value: Array = np.full(len(sizes), constant, dtype=sizes.dtype)
            for factor in factors:
                if factor >= 0:
                    value = value * sizes[:, factor]
            total += value
        return total

    def gradient(self, sizes: Array, weights: Array) -> Array:
        """Return the partial derivatives by width.

        Parameters
        ----------
        sizes
            The point, shape (sizes,).
        weights
            Coefficients of the widths in each size, shape (sizes, groups).

        Returns
        -------
        Derivative by the width of each group, shape (groups,).
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
    """MACs and parameters as polynomials of sizes ``fixed + weights @ widths``.

    Parameters
    ----------
    weights
        Coefficients of the widths in each size, shape (sizes, groups).
    fixed
        Constant part of each size, in channels, shape (sizes,).
    macs, params
        The two polynomials of the sizes.
    vanishing
        Sizes that count as 0 when they equal 1, shape (sizes,); None for none. ``torch.einsum`` replaces a matrix product
        over one element by an elementwise product.
    """

    weights: Array
    fixed: Array
    macs: Polynomial
    params: Polynomial
    vanishing: NDArray[np.bool_] | None = None

    def sizes(self, widths: Array) -> Array:
        """Return sizes (N, sizes) at widths (N, groups), of the same dtype."""
        sizes = widths @ self.weights.T.astype(widths.dtype) + self.fixed
        return sizes if self.vanishing is None else np.where(self.vanishing & (sizes == 1), 0, sizes)

    def macs_of(self, widths: Array) -> Array:
        """MACs of one sample (N,) at widths (N, groups). Exact; raises OverflowError from 2**63 on."""
        return self._cost_of(self.macs, self._compiled_macs, widths)

    def params_of(self, widths: Array) -> Array:
        """Numbers of parameters (N,) at widths (N, groups). Exact, as `macs_of`."""
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
        """MACs (groups,) of one channel of each group at ``widths`` (groups,), over its producers and consumers."""
        return self.macs.gradient(self.sizes(widths[None])[0], self.weights)
