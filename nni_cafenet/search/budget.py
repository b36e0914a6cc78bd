"""What a network may cost: limits on MACs and parameters, parsed, checked and applied to many widths at once.

MACs are multiply-accumulates of convolutions, linear layers and matrix products for one sample; no batch
norm, activation or bias. It is what papers on width search call FLOPs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol, Union, overload

import numpy as np
from numpy.typing import NDArray

from ..units import format_count, parse_count

__all__ = ['Budget', 'BudgetSpec', 'WidthDomain', 'budget_name']

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BudgetSpec = Union[str, float, Mapping[str, Union[str, float]]]

_NAMES = {'macs': 'MACs', 'params': 'parameters'}
_SHARE = re.compile(r'([0-9]+\.?[0-9]*|\.[0-9]+)\s*%')
_HOW = (
    "write a share of the full network such as '50%', a count such as '300M' or 300000000, "
    "or a dict such as {'macs': '50%', 'params': '5M'}"
)


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


@dataclass(frozen=True)
class Budget:
    """Limits that no network of a search may exceed, by one MAC. Made by :meth:`parse`, which checks them.

    Parameters
    ----------
    limits : dict of str to int
        Largest cost allowed: ``'macs'`` of one sample, ``'params'``, or both.
    domain : WidthDomain
        Tells the costs of widths. Not part of equality.

    Examples
    --------
    >>> Budget.parse('50%', domain).describe()
    'MACs <= 907M (50.0% of 1.81G)'
    """

    limits: dict[str, int]
    domain: WidthDomain = field(repr=False, compare=False)

    @classmethod
    def parse(cls, spec: BudgetSpec, domain: WidthDomain) -> Budget:
        """Read a budget as a user writes it.

        Parameters
        ----------
        spec : str, number or mapping
            A limit on the MACs: a percentage of the full network (``'50%'``, cut off to a whole MAC), or a
            count as :func:`nni_cafenet.units.parse_count` reads it (``'300M'``, ``'1.2G'``, ``3e8``). Or
            several limits, all of which hold: ``{'macs': '50%', 'params': '5M'}``.
        domain : WidthDomain
            The space that is searched.

        Raises
        ------
        ValueError
            If it cannot be read, is not positive, or is outside what the space can reach.
        """
        if not isinstance(spec, Mapping):
            return cls({'macs': _limit(f'budget={spec!r}', spec, 'macs', domain)}, domain)
        unknown = [key for key in spec if key not in _NAMES]
        if unknown or not spec:
            found = f'unknown key {unknown[0]!r}' if unknown else 'no limit given'
            raise ValueError(f"budget={dict(spec)!r}: {found}; allowed keys are 'macs' and 'params'")
        return cls({key: _limit(f'budget[{key!r}]={spec[key]!r}', spec[key], key, domain) for key in spec}, domain)

    def costs(self, widths: IntArray) -> dict[str, IntArray]:
        """The costs that are limited, each of shape (N,), of widths (N, groups)."""
        return {key: _cost(self.domain, key, widths) for key in self.limits}

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
            full = _cost_of(self.domain, key, self.domain.full_widths)
            share = f'{100 * limit / full:.1f}% of {format_count(full)}'
            parts.append(f'{_NAMES[key]} <= {format_count(limit)} ({share})')
        return ' and '.join(parts)


def budget_name(spec: BudgetSpec) -> str:
    """Return what a budget is called in tables and folders: ``'50%'``, ``'300M'``, ``'macs=50%,params=5M'``."""
    if isinstance(spec, Mapping):
        return ','.join(f'{key}={budget_name(spec[key])}' for key in _NAMES if key in spec)
    return re.sub(r'\s', '', spec) if isinstance(spec, str) else format_count(int(spec))


def _cost(domain: WidthDomain, key: str, widths: IntArray) -> IntArray:
    return domain.macs(widths) if key == 'macs' else domain.params(widths)


def _cost_of(domain: WidthDomain, key: str, widths: Mapping[str, int]) -> int:
    return int(_cost(domain, key, np.array([[widths[label] for label in domain.choices]], np.int64))[0])


def _limit(where: str, spec: object, key: str, domain: WidthDomain) -> int:
    """One limit as a count that the space can reach; ``where`` opens the error message."""
    smallest = _cost_of(domain, key, {label: allowed[0] for label, allowed in domain.choices.items()})
    full, name = _cost_of(domain, key, domain.full_widths), _NAMES[key]
    limit = _count(where, spec, full)
    if limit > full:
        raise ValueError(
            f'{where} allows {limit:,} {name}, but the full network has {full:,} {name}: '
            f'no search is needed; give less, or leave this limit out'
        )
    if limit < smallest:
        percent = -(-smallest * 10_000 // full) / 100  # rounded up, so that it is enough
        raise ValueError(
            f'{where} allows {limit:,} {name}, but the smallest reachable network has {smallest:,} {name}: '
            f"give at least {smallest} or '{percent:.2f}%', or allow smaller widths"
        )
    return limit


def _count(where: str, spec: object, full: int) -> int:
    """What one limit amounts to, cut off to a whole number."""
    share = _SHARE.fullmatch(spec.strip()) if isinstance(spec, str) else None
    if isinstance(spec, float) and 0 < spec < 1:
        raise ValueError(f"{where}: a share is written as a percentage, here '{100 * spec:g}%'")
    if isinstance(spec, np.integer):
        spec = int(spec)
    try:
        # parse_count checks the type itself.
        amount = Fraction(share[1]) * full / 100 if share else Fraction(parse_count(spec))  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise ValueError(f'{where}: {error}; {_HOW}') from error
    if amount == 0:
        raise ValueError(f'{where} must be above zero; {_HOW}')
    return math.floor(amount)
