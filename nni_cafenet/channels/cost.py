"""MACs and parameters of any widths, in closed form, of many widths at once.

One multiply-accumulate (MAC) counts as one. Convolutions, linear layers and matrix products count; normalisation,
activations and biases do not: the convention of ``torch.utils.flop_counter``, halved, for one sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ['CostModel', 'Polynomial']

Array = NDArray[np.int64]


@dataclass(frozen=True)
class Polynomial:
    """A sum of products of sizes.

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
        """Evaluate on sizes of shape (N, number of sizes); returns shape (N,)."""
        total = np.zeros(len(sizes), dtype=np.int64)
        for constant, factors in zip(self.constants, self.factors):
            value: Array = np.full(len(sizes), constant, dtype=np.int64)
            for factor in factors:
                if factor >= 0:
                    value = value * sizes[:, factor]
            total += value
        return total

    def slope(self, sizes: Array, weights: Array) -> Array:
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
        """Return the sizes of widths of shape (N, groups), shape (N, sizes). Exact: far below 2**53."""
        sizes = np.rint(widths.astype(np.float64) @ self.weights.T.astype(np.float64)).astype(np.int64) + self.fixed
        return sizes if self.vanishing is None else np.where(self.vanishing & (sizes == 1), 0, sizes)

    def macs_of(self, widths: Array) -> Array:
        """MACs of one sample, for widths of shape (N, groups); shape (N,)."""
        return self.macs(self.sizes(widths))

    def params_of(self, widths: Array) -> Array:
        """Numbers of parameters, for widths of shape (N, groups); shape (N,)."""
        return self.params(self.sizes(widths))

    def macs_a_channel(self, widths: Array) -> Array:
        """MACs of one channel of each group at ``widths`` (groups,); shape (groups,).

        Its own filters in every layer that makes it, and its slice of the input of every layer that reads it.
        """
        return self.macs.slope(self.sizes(widths[None])[0], self.weights)
