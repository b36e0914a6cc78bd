"""Budgets of a space: limits on MACs, parameters and latency, checked against the space and applied to many widths.

MACs are multiply-accumulates of convolutions, linear layers and matrix products for one sample, without batch
normalization, activations and biases; papers on width search call them FLOPs. Latency is predicted from measured times:
the real time of a network may differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from ..options import COSTS, BudgetSpec, CostLimit
from ..utils import format_count, format_time

__all__ = ['Budget', 'WidthDomain']

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class WidthDomain(Protocol):
    """What a search uses of a space of widths.

    Both costs are exact, and never fall when a width grows. They take widths as ``{label: int}`` and return
    an int, or as an int64 array (N, groups), columns in the order of :attr:`choices`, and return int64 (N,).
    """

    @property
    def choices(self) -> Mapping[str, tuple[int, ...]]:
        """Allowed widths of every label, in channels, ascending."""

    @property
    def listed(self) -> bool:
        """Whether there are no widths other than the choices."""

    @property
    def full_widths(self) -> Mapping[str, int]:
        """Width of every label in the full network, in channels; it need not be allowed."""

    def group_widths(self, widths: IntArray, /) -> IntArray:
        """Width of every channel group (N, groups), in channels, at widths (N, labels)."""

    @overload
    def macs(self, widths: dict[str, int], /) -> int: ...
    @overload
    def macs(self, widths: IntArray, /) -> IntArray: ...

    @overload
    def params(self, widths: dict[str, int], /) -> int: ...
    @overload
    def params(self, widths: IntArray, /) -> IntArray: ...


class Latencies(Protocol):
    """The part of a `LatencyTable` that searches use: times in ns, which never fall when a width grows."""

    def latency(self, widths: IntArray, /) -> IntArray:
        """The latency of widths (N, groups), ns; shape (N,)."""

    def fingerprint(self) -> str:
        """A string that differs between tables with different predictions."""


@dataclass(frozen=True)
class Budget:
    """Limits that no network of a search exceeds, not by one MAC or one ns. Made by :meth:`parse`, which checks them.

    ``limits`` are those of ``'macs'`` of one sample, ``'params'``, ``'latency'`` in ns. Domain and latency table, which
    compute the costs, are not part of equality.

    >>> Budget.parse('50%', domain).describe()
    'MACs <= 907M (50.0% of 1.81G)'
    """

    limits: dict[str, int]
    domain: WidthDomain = field(repr=False, compare=False)
    table: Latencies | None = field(default=None, repr=False, compare=False)

    @classmethod
    def parse(cls, spec: Any, domain: WidthDomain, table: Latencies | None = None) -> Budget:
        """Apply a budget to a space; a share is rounded down to a whole MAC.

        Without a table, latencies come from the one that the budget names; else they are measured now. Raises
        ValueError if the budget cannot be read, or is outside what the space can reach.
        """
        asked = BudgetSpec.of(spec)
        budget = cls.check(asked, domain)
        if asked.latency is None:
            return budget
        if table is None:
            from ..latency import LatencyOptions  # needs torch

            table = LatencyOptions.of(asked.measured).table_for(domain)
        limit = cls({}, domain, table)._limit(asked.latency)
        return cls({**budget.limits, 'latency': limit}, domain, table)

    @classmethod
    def check(cls, spec: Any, domain: WidthDomain) -> Budget:
        """Check a budget as far as possible without latencies, and return its other limits; see `parse`."""
        asked, unlimited = BudgetSpec.of(spec), cls({}, domain)
        limits = {limit.cost: unlimited._limit(limit) for limit in asked.limits if limit.cost != 'latency'}
        if asked.latency is not None:
            from ..latency import LatencyOptions

            LatencyOptions.of(asked.measured).check(domain)
        return cls(limits, domain)

    def costs(self, widths: IntArray) -> dict[str, IntArray]:
        """The limited costs, each of shape (N,), of widths (N, groups)."""
        return {key: self._cost(key, widths) for key in self.limits}

    def allows(self, widths: IntArray) -> BoolArray:
        """Which rows of widths (N, groups) satisfy every limit; shape (N,)."""
        allowed: BoolArray = np.ones(len(widths), np.bool_)
        for key, cost in self.costs(widths).items():
            allowed &= cost <= self.limits[key]
        return allowed

    def usage(self, widths: IntArray) -> FloatArray:
        """The largest used share of a limit, shape (N,): above 1 exactly where :meth:`allows` is false."""
        largest: FloatArray = np.zeros(len(widths))
        for key, cost in self.costs(widths).items():
            share = cost / self.limits[key]
            # Beyond 2**52 a quotient may be rounded to 1 although the limit is exceeded.
            share[(cost > self.limits[key]) & (share <= 1)] = np.nextafter(1.0, 2.0)
            largest = np.maximum(largest, share)
        return largest

    def describe(self) -> str:
        """The limits in words, for logs and tables; counts are rounded."""
        parts = []
        for key, limit in self.limits.items():
            full, shown = self._full(key), format_time if key == 'latency' else format_count
            predicted = ', predicted' if key == 'latency' else ''
            parts.append(f'{COSTS[key]} <= {shown(limit)} ({100 * limit / full:.1f}% of {shown(full)}{predicted})')
        return ' and '.join(parts)

    def _cost(self, key: str, widths: IntArray) -> IntArray:
        if key != 'latency':
            return self.domain.macs(widths) if key == 'macs' else self.domain.params(widths)
        if self.table is None:
            raise ValueError(
                "limits['latency'] needs a table that predicts latencies: create the budget by Budget.parse"
            )
        return self.table.latency(self.domain.group_widths(widths))

    def _smallest(self, key: str) -> int:
        """Cost of the smallest network."""
        return self._cost_of(key, {label: allowed[0] for label, allowed in self.domain.choices.items()})

    def _full(self, key: str) -> int:
        """Cost of the full network."""
        return self._cost_of(key, self.domain.full_widths)

    def _cost_of(self, key: str, widths: Mapping[str, int]) -> int:
        return int(self._cost(key, np.array([[widths[label] for label in self.domain.choices]]))[0])

    def _limit(self, asked: CostLimit) -> int:
        """Return a limit as an amount that the space can reach."""
        key, where = asked.cost, asked.where
        smallest, full = self._smallest(key), self._full(key)
        limit = asked.within(full)
        if limit > full:
            raise ValueError(
                f'{where} allows {_shown(key, limit)}, but the full network {_has(key)} {_shown(key, full)}: '
                f'no search is needed; give less, or leave this limit out'
            )
        if limit < smallest:
            percent = -(-smallest * 10_000 // full) / 100  # rounded up, to be enough
            least = f"'{-(-smallest // 1000)}us'" if key == 'latency' else str(smallest)
            raise ValueError(
                f'{where} allows {_shown(key, limit)}, but the smallest reachable network {_has(key)} '
                f"{_shown(key, smallest)}: give at least {least} or '{percent:.2f}%', or allow smaller widths"
            )
        return limit


def _has(key: str) -> str:
    return 'takes' if key == 'latency' else 'has'


def _shown(key: str, count: int) -> str:
    return f'{format_time(count)} (predicted)' if key == 'latency' else f'{count:,} {COSTS[key]}'
