"""What a network may cost: limits on MACs, parameters and latency, parsed, checked and applied to many widths at once.

MACs are multiply-accumulates of convolutions, linear layers and matrix products for one sample; no batch
norm, activation or bias. It is what papers on width search call FLOPs. Latency is predicted by a table of measured
times: the real time of a network may be another one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from ..utils import format_count, format_time, parse_count, parse_time

__all__ = ['Budget', 'BudgetSpec', 'WidthDomain', 'budget_name', 'share_of']

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BudgetSpec = str | float | Mapping[str, Any]

_NAMES = {'macs': 'MACs', 'params': 'parameters', 'latency': 'latency'}
_OF_LATENCY = ('device', 'batch', 'threads', 'table')
_SHARE = re.compile(r'([0-9]+\.?[0-9]*|\.[0-9]+)\s*%')
_HOW = (
    "write a share of the full network such as '50%', a count such as '300M' or 300000000, "
    "or a dict such as {'macs': '50%', 'params': '5M'}"
)
_HOW_LONG = "write a time such as '5ms', '0.8 s' or '750us', or a share of the full network's such as '50%'"


class WidthDomain(Protocol):
    """What a search needs to know of a space of widths.

    Both costs are exact, and never fall when a width grows. They take widths as ``{label: int}`` and return
    an int, or as an int64 array (N, groups), columns in the order of :attr:`choices`, and return int64 (N,).
    """

    @property
    def choices(self) -> Mapping[str, tuple[int, ...]]:
        """Allowed widths of every label, in channels, ascending."""

    @property
    def full_widths(self) -> Mapping[str, int]:
        """Width of every label in the full network, in channels; it need not be allowed."""

    @overload
    def macs(self, widths: dict[str, int], /) -> int: ...
    @overload
    def macs(self, widths: IntArray, /) -> IntArray: ...

    @overload
    def params(self, widths: dict[str, int], /) -> int: ...
    @overload
    def params(self, widths: IntArray, /) -> IntArray: ...


class Latencies(Protocol):
    """What a search needs to know of a `LatencyTable`: times in ns, which never fall when a width grows."""

    def latency(self, widths: IntArray, /) -> IntArray:
        """The latency of widths (N, groups), ns; shape (N,)."""

    def fingerprint(self) -> str:
        """A text that differs between tables that predict otherwise."""


@dataclass(frozen=True)
class Budget:
    """Limits that no network of a search may exceed, by one MAC or one ns. Made by :meth:`parse`, which checks them.

    Parameters
    ----------
    limits : dict of str to int
        Largest cost allowed: ``'macs'`` of one sample, ``'params'``, ``'latency'`` in ns, or several.
    domain : WidthDomain
        Tells the costs of widths. Not part of equality.
    table : Latencies, optional
        Tells their latency; needed where it is limited. Not part of equality.

    Examples
    --------
    >>> Budget.parse('50%', domain).describe()
    'MACs <= 907M (50.0% of 1.81G)'
    """

    limits: dict[str, int]
    domain: WidthDomain = field(repr=False, compare=False)
    table: Latencies | None = field(default=None, repr=False, compare=False)

    @classmethod
    def parse(cls, spec: BudgetSpec, domain: WidthDomain, table: Latencies | None = None) -> Budget:
        """Read a budget as a user writes it.

        Parameters
        ----------
        spec : str, number or mapping
            A limit on the MACs: a percentage of the full network (``'50%'``, cut off to a whole MAC), or a
            count as :func:`nni_cafenet.utils.units.parse_count` reads it (``'300M'``, ``'1.2G'``, ``3e8``). Or
            several limits, all of which hold: ``{'macs': '50%', 'params': '5M'}``. ``{'latency': '5ms'}`` or
            ``'50%'`` of the full network's; beside it may stand what :class:`LatencyOptions` reads.
        domain : WidthDomain
            The space that is searched.
        table : Latencies, optional
            Tells latencies. Default: what the budget names, or else it is measured now.

        Raises
        ------
        ValueError
            If it cannot be read, is not positive, or is outside what the space can reach.
        """
        budget = cls.check(spec, domain)
        if not isinstance(spec, Mapping) or 'latency' not in spec:
            return budget
        if table is None:
            from ..latency import LatencyOptions  # which needs torch

            table = LatencyOptions.of(spec).table_for(domain)
        where = f"budget['latency']={spec['latency']!r}"
        limit = cls({}, domain, table)._limit(where, spec['latency'], 'latency')
        return cls({key: budget.limits.get(key, limit) for key in _NAMES if key in spec}, domain, table)

    @classmethod
    def check(cls, spec: BudgetSpec, domain: WidthDomain) -> Budget:
        """Read and check a budget as far as that goes without a table of latencies, and return the other limits.

        Parameters, errors: as of :meth:`parse`.
        """
        known = cls({}, domain)
        if not isinstance(spec, Mapping):
            return cls({'macs': known._limit(f'budget={spec!r}', spec, 'macs')}, domain)
        _check_keys(spec)
        limits = {
            key: known._limit(f'budget[{key!r}]={spec[key]!r}', spec[key], key)
            for key in spec
            if key in ('macs', 'params')
        }
        if 'latency' in spec:
            from ..latency import LatencyOptions

            _amount(f"budget['latency']={spec['latency']!r}", spec['latency'], 'latency', 1)
            LatencyOptions.of(spec).check(domain)
        return cls(limits, domain)

    def costs(self, widths: IntArray) -> dict[str, IntArray]:
        """The costs that are limited, each of shape (N,), of widths (N, groups)."""
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
            parts.append(f'{_NAMES[key]} <= {shown(limit)} ({100 * limit / full:.1f}% of {shown(full)}{predicted})')
        return ' and '.join(parts)

    def _cost(self, key: str, widths: IntArray) -> IntArray:
        if key != 'latency':
            return self.domain.macs(widths) if key == 'macs' else self.domain.params(widths)
        if self.table is None:
            raise ValueError("limits['latency'] needs a table that tells latencies: make the budget by Budget.parse")
        return self.table.latency(widths)

    def _smallest(self, key: str) -> int:
        """Cost of the smallest network."""
        return self._cost_of(key, {label: allowed[0] for label, allowed in self.domain.choices.items()})

    def _full(self, key: str) -> int:
        """Cost of the full network."""
        return self._cost_of(key, self.domain.full_widths)

    def _cost_of(self, key: str, widths: Mapping[str, int]) -> int:
        return int(self._cost(key, np.array([[widths[label] for label in self.domain.choices]], np.int64))[0])

    def _limit(self, where: str, spec: object, key: str) -> int:
        """One limit as a count that the space can reach; ``where`` opens the error message."""
        smallest, full = self._smallest(key), self._full(key)
        limit = _amount(where, spec, key, full)
        if limit > full:
            raise ValueError(
                f'{where} allows {_shown(key, limit)}, but the full network {_has(key)} {_shown(key, full)}: '
                f'no search is needed; give less, or leave this limit out'
            )
        if limit < smallest:
            percent = -(-smallest * 10_000 // full) / 100  # rounded up, so that it is enough
            least = f"'{-(-smallest // 1000)}us'" if key == 'latency' else str(smallest)
            raise ValueError(
                f'{where} allows {_shown(key, limit)}, but the smallest reachable network {_has(key)} '
                f"{_shown(key, smallest)}: give at least {least} or '{percent:.2f}%', or allow smaller widths"
            )
        return limit


def budget_name(spec: BudgetSpec) -> str:
    """Return what a budget is called in tables and folders: ``'50%'``, ``'300M'``, ``'macs=50%,params=5M'``."""
    if isinstance(spec, Mapping):
        return ','.join(f'{key}={budget_name(spec[key])}' for key in _NAMES if key in spec)
    return re.sub(r'\s', '', spec) if isinstance(spec, str) else format_count(int(spec))


def share_of(spec: BudgetSpec, *, macs: int, params: int, otherwise: float) -> float:
    """Return the smallest share of the full network that a budget allows, 0..1, before there is a space to ask.

    Parameters
    ----------
    spec
        The budget as a user writes it.
    macs, params
        Those of the full network.
    otherwise
        The share that a latency in seconds is taken for.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    limits = spec if isinstance(spec, Mapping) else {'macs': spec}
    _check_keys(limits)
    full = {'macs': macs, 'params': params, 'latency': 10**9}
    shares = [
        otherwise
        if key == 'latency' and '%' not in str(limit)
        else _amount('budget', limit, key, full[key]) / full[key]
        for key, limit in limits.items()
        if key in full
    ]
    return min(1.0, *shares)


def _check_keys(spec: Mapping[str, Any]) -> None:
    unknown = [key for key in spec if key not in _NAMES and key not in _OF_LATENCY]
    if unknown or not any(key in _NAMES for key in spec):
        found = f'unknown key {unknown[0]!r}' if unknown else 'no limit given'
        raise ValueError(
            f"budget={dict(spec)!r}: {found}; allowed keys are 'macs' and 'params' and 'latency', and with latency "
            "'device', 'batch', 'threads' and 'table'"
        )
    lonely = [key for key in _OF_LATENCY if key in spec and 'latency' not in spec]
    if lonely:
        raise ValueError(
            f"budget={dict(spec)!r}: {lonely[0]!r} belongs to a latency; add one, such as 'latency': '5ms', or leave "
            f'{lonely[0]!r} out'
        )


def _has(key: str) -> str:
    return 'takes' if key == 'latency' else 'has'


def _shown(key: str, count: int) -> str:
    return f'{format_time(count)} (predicted)' if key == 'latency' else f'{count:,} {_NAMES[key]}'


def _amount(where: str, spec: object, key: str, full: int) -> int:
    """What one limit amounts to, cut off to a whole number."""
    share = _SHARE.fullmatch(spec.strip()) if isinstance(spec, str) else None
    how = _HOW_LONG if key == 'latency' else _HOW
    if isinstance(spec, float) and 0 < spec < 1 and key != 'latency':
        raise ValueError(f"{where}: a share is written as a percentage, here '{100 * spec:g}%'")
    if isinstance(spec, np.integer):
        spec = int(spec)
    parse: Any = parse_time if key == 'latency' else parse_count  # each checks the type itself
    try:
        amount = Fraction(share[1]) * full / 100 if share else Fraction(parse(spec))
    except (ValueError, TypeError) as error:
        raise ValueError(f'{where}: {error}; {how}') from error
    if amount == 0:
        raise ValueError(f'{where} must be above zero; {how}')
    return math.floor(amount)
