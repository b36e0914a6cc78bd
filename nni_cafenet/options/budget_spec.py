"""The grammar of budgets: what a network may cost, as users write it, read once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Integral
from typing import Any

from ..errors import first_line
from ..utils import check_whole_number, format_count, parse_count, parse_time

__all__ = ['COSTS', 'BudgetSpec', 'BudgetSpecs', 'CostLimit']

COSTS = {'macs': 'MACs', 'params': 'parameters', 'latency': 'latency'}
"""The costs that a budget can limit, and their names in messages."""

_OF_LATENCY = ('device', 'batch', 'threads', 'runtime', 'table')
_SHARE = re.compile(r'([0-9]+\.?[0-9]*|\.[0-9]+)\s*%')
_SYNTAX = (
    "write a share of the full network such as '50%', a count such as '300M' or 300000000, "
    "or a dict such as {'macs': '50%', 'params': '5M'}"
)
_TIME_SYNTAX = "write a time such as '5ms', '0.8 s' or '750us', or a share of the full network's such as '50%'"


class BudgetSyntaxError(ValueError):
    """A budget that cannot be read; ``why`` is the reason without the budget."""

    def __init__(self, where: str, why: str, syntax: str = '') -> None:
        super().__init__(f'{where}: {why}' + (f'; {syntax}' if syntax else ''))
        self.why = why


@dataclass(frozen=True)
class CostLimit:
    """A limit on one cost: a share of the full network's, above 0 and at most 1, or an amount of MACs, parameters or ns.

    ``where`` is the limit as the user wrote it, for messages: ``"budget['macs']='50%'"``.
    """

    cost: str
    where: str
    share: Fraction | None = None
    amount: int = 0

    @classmethod
    def of(cls, cost: str, value: Any, where: str) -> CostLimit:
        """Read a limit; a ValueError if it is not one."""
        syntax = _TIME_SYNTAX if cost == 'latency' else _SYNTAX
        found = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
        if found is not None:
            share = Fraction(found[1]) / 100
            if share > 1:
                why = f'{value.strip()} is more than the full network: no search is needed; give less'
                raise BudgetSyntaxError(where, f'{why}, or leave this limit out')
            amount = 0
        else:
            if isinstance(value, float) and 0 < value < 1 and cost != 'latency':
                raise BudgetSyntaxError(where, f"a share is written as a percentage, here '{100 * value:g}%'")
            is_flag = isinstance(value, bool)
            if isinstance(value, Integral) and not is_flag:
                value = int(value)  # numpy's
            parse: Any = parse_time if cost == 'latency' else parse_count
            try:
                share, amount = None, parse(value)
            except (ValueError, TypeError) as error:
                raise BudgetSyntaxError(where, first_line(error, 400), syntax) from error
        if not (share or amount):
            raise BudgetSyntaxError(where, 'must be above zero', syntax)
        return cls(cost, where, share, amount)

    def within(self, full: int) -> int:
        """Return the limit as an amount, rounded down, given the full network's cost."""
        return self.amount if self.share is None else math.floor(self.share * full)


@dataclass(frozen=True)
class BudgetSpec:
    """A budget as a user writes it. Made by `of`.

    ``limits`` are in the order of `COSTS`. ``measured`` holds the conditions of a limit on latency, as far as given:
    ``device``, ``batch``, ``threads``, ``runtime`` and ``table``.

    >>> BudgetSpec.of({'params': '5M', 'macs': '50%'}).name
    'macs=50%,params=5M'
    """

    given: Any
    limits: tuple[CostLimit, ...] = field(compare=False)
    measured: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, value: Any) -> BudgetSpec:
        """Read a budget.

        It is a limit on MACs: a share of the full network's (``'50%'``) or a count (``'300M'``, ``3e8``). Or a dict of
        limits that all hold: ``{'macs': '50%', 'params': '5M'}``, ``{'latency': '5ms', 'device': 'cpu', 'batch': 1}``.
        Raises ValueError, whose ``why`` is the reason without the budget.
        """
        if isinstance(value, BudgetSpec):
            return value
        if not isinstance(value, Mapping):
            return cls(value, (CostLimit.of('macs', value, f'budget={value!r}'),))
        _check_keys(value)
        limits = [
            CostLimit.of(cost, value[cost], f'budget[{cost!r}]={value[cost]!r}') for cost in COSTS if cost in value
        ]
        for name in ('batch', 'threads'):
            if value.get(name) is not None:
                check_whole_number(f'budget[{name!r}]', value[name], 1)
        return cls(value, tuple(limits), {name: value[name] for name in _OF_LATENCY if name in value})

    @property
    def name(self) -> str:
        """Its name in tables and folders: ``'50%'``, ``'300M'``, ``'macs=50%,params=5M'``."""
        if isinstance(self.given, Mapping):
            return ','.join(f'{limit.cost}={_short(self.given[limit.cost])}' for limit in self.limits)
        return _short(self.given)

    @property
    def latency(self) -> CostLimit | None:
        """The limit on latency, if there is one."""
        return next((limit for limit in self.limits if limit.cost == 'latency'), None)

    def share(self, *, macs: int, params: int, unknown: float) -> float:
        """Return the smallest share of the full network that it allows, 0..1; ``unknown`` for a latency in seconds."""
        full = {'macs': macs, 'params': params, 'latency': 10**9}
        shares = [
            unknown
            if limit.cost == 'latency' and limit.share is None
            else limit.within(full[limit.cost]) / full[limit.cost]
            for limit in self.limits
        ]
        return min(1.0, *shares)

    def __repr__(self) -> str:
        return repr(self.given)


@dataclass(frozen=True)
class BudgetSpecs:
    """The budgets of a run, made by `of`.

    There are ``several``, for a family of networks, if the user gave a list, even of one.
    """

    specs: tuple[BudgetSpec, ...]
    several: bool = False

    @classmethod
    def of(cls, value: Any) -> BudgetSpecs:
        """Read a budget or a list of budgets (see `BudgetSpec.of`); a ValueError if the list is empty or repeats one."""
        if isinstance(value, BudgetSpecs):
            return value
        if not isinstance(value, (list, tuple)):
            return cls((BudgetSpec.of(value),))
        each_once = "give each budget once, such as ['75%', '50%']"
        if not value:
            raise BudgetSyntaxError(f'budget={value!r}', 'lists no budget', each_once)
        specs = tuple(map(BudgetSpec.of, value))
        names = [spec.name for spec in specs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise BudgetSyntaxError(f'budget={value!r}', f'has {twice} twice', each_once)
        return cls(specs, True)

    @property
    def names(self) -> list[str | None]:
        """The names of several budgets; ``[None]`` for one alone."""
        return [spec.name if self.several else None for spec in self.specs]

    def __iter__(self) -> Iterator[BudgetSpec]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)

    def __repr__(self) -> str:
        return repr(list(self.specs) if self.several else self.specs[0])


def _check_keys(spec: Mapping[str, Any]) -> None:
    where = f'budget={dict(spec)!r}'
    unknown = [key for key in spec if key not in COSTS and key not in _OF_LATENCY]
    if unknown or not any(key in COSTS for key in spec):
        raise BudgetSyntaxError(
            where,
            f'{f"unknown key {unknown[0]!r}" if unknown else "no limit given"}; allowed keys are '
            "'macs' and 'params' and 'latency', and with latency 'device', 'batch', 'threads', 'runtime' and 'table'",
        )
    lonely = [key for key in _OF_LATENCY if key in spec and 'latency' not in spec]
    if lonely:
        raise BudgetSyntaxError(
            where, f"{lonely[0]!r} belongs to a latency; add one, such as 'latency': '5ms', or leave {lonely[0]!r} out"
        )


def _short(value: Any) -> str:
    return re.sub(r'\s', '', value) if isinstance(value, str) else format_count(int(value))
