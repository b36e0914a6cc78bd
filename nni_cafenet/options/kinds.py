"""Kinds of values: what an option allows, in words and for `schema`, and how words of a shell become a value."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import first_line
from ..utils import LARGEST_SEED, check_flag, check_number, check_whole_number, shown_value
from .budget_spec import BudgetSpecs
from .halving import Halving

__all__ = [
    'Kind',
    'bins',
    'budgets',
    'choice',
    'choices',
    'ddp',
    'epochs',
    'flag',
    'is_list',
    'number_above',
    'number_between',
    'number_of',
    'seed',
    'text',
    'whole_number',
    'words',
]


@dataclass(frozen=True)
class Kind:
    """A kind of values: what is ``allowed``, in words ('must be ...'), and what `schema` validates and converts it by.

    ``from_words`` converts the words that follow an option, ``many`` allows several. Words that it cannot convert stay
    as they are, for the validator to reject. ``error`` is the class of the error that `check` raises.
    """

    allowed: str
    validator: Any
    metavar: str = 'NAME'
    from_words: Callable[[list[str]], Any] = lambda words: words[0]
    many: bool = False
    optional: bool = False
    error: type[Exception] = ValueError

    def check(self, name: str, value: Any) -> Any:
        """Return a value, converted; the error names the option, the value, and what is allowed."""
        found, problem = self._validated(value)
        if problem is not None:
            raise self.error(f'{name}={shown_value(value)} {problem}{", or None" if self.optional else ""}.')
        return found

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with a value; None if it is allowed."""
        return self._validated(value)[1]

    def or_none(self) -> Kind:
        """Return the kind that also allows None."""
        return dataclasses.replace(self, optional=True)

    def _validated(self, value: Any) -> tuple[Any, str | None]:
        from schema import Schema, SchemaError

        if self.optional and value is None:
            return None, None
        try:
            return Schema(self.validator).validate(value), None
        except SchemaError as error:
            reason = next((each for each in reversed(error.errors) if each), None)
        return None, f'must be {self.allowed}' + (f' ({reason})' if reason else '')


class _Checked:
    """A check of `nni_cafenet.utils` as `schema` calls it."""

    def __init__(self, check: Callable[[Any], Any], reason: Callable[[Exception], str] = lambda error: '') -> None:
        self._check = check
        self._reason = reason

    def validate(self, value: Any, **_: Any) -> Any:
        from schema import SchemaError

        try:
            return self._check(value)
        except (ValueError, TypeError) as error:
            raise SchemaError(None, self._reason(error) or None) from error


def whole_number(least: int, most: int | None = None) -> Kind:
    """Whole numbers from ``least``, to ``most`` if it is given."""
    check = partial(check_whole_number, 'value', least=least, most=most)
    allowed = f'{least} or more' if most is None else f'from {least} to {most}'
    return Kind(f'a whole number, {allowed}', _Checked(check), 'N', number_of)


def seed() -> Kind:
    """Seeds that every random generator takes."""
    check = partial(check_whole_number, 'seed', least=0, most=LARGEST_SEED)
    return Kind('a whole number, from 0 to 2**63 - 1', _Checked(check), 'N', number_of)


def number_between(low: float, high: float, *, open: bool = False, metavar: str = 'SHARE') -> Kind:
    """Numbers within a range; ``open``: without its ends."""
    allowed = f'a number between {low:g} and {high:g}' if open else f'a number from {low:g} to {high:g}'
    check = partial(check_number, 'value', low=low, high=high, open=open)
    return Kind(allowed, _Checked(check), metavar, number_of)


def number_above(low: float, metavar: str = 'N') -> Kind:
    """Finite numbers above a bound."""
    return Kind(
        f'a number above {low:g}', _Checked(partial(check_number, 'value', low=low, open=True)), metavar, number_of
    )


def choice(*names: str) -> Kind:
    """One of some words."""
    return Kind(f'one of {", ".join(names)}', lambda value: isinstance(value, str) and value in names)


def ddp() -> Kind:
    """A strategy for several devices; others of Lightning are refused with the reason."""
    names = ('auto', 'ddp', 'ddp_find_unused_parameters_true')

    def check(value: Any) -> str:
        if isinstance(value, str) and value in names:
            return value
        if any(word in str(value).lower() for word in ('fsdp', 'deepspeed', 'model_parallel')):
            raise ValueError('it divides parameters among devices, and a step of the supernet slices whole parameters')
        if any(word in str(value).lower() for word in ('spawn', 'fork', 'notebook')):
            raise ValueError('its processes cannot meet before the training; start a script, or torchrun')
        raise ValueError

    return Kind(f'one of {", ".join(names)}', _Checked(check, str))


def choices(*names: str) -> Kind:
    """A list of some words, each at most once; it may be empty."""

    def is_allowed(value: Any) -> bool:
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        return (
            listed and all(isinstance(each, str) and each in names for each in value) and len(set(value)) == len(value)
        )

    return Kind(f'a list of {", ".join(names)}', is_allowed, 'NAME', lambda given: given, many=True)


def flag() -> Kind:
    """True or false."""
    return Kind('true or false', _Checked(partial(check_flag, 'value')), error=TypeError)


def text(allowed: str, metavar: str = 'NAME') -> Kind:
    """A text that is not blank."""
    return Kind(allowed, lambda value: isinstance(value, str) and bool(value.strip()), metavar)


def words(allowed: str, metavar: str) -> Kind:
    """A list of texts."""
    return Kind(allowed, lambda value: is_list(value, str), metavar, lambda given: given, many=True)


def epochs() -> Kind:
    """The epochs of the rungs of a `Halving`."""
    return Kind(
        'ascending whole numbers, such as 2 4 8 ([2, 4, 8] in a file)',
        _Checked(_epochs),
        'EPOCHS',
        lambda given: [number_of([word]) for word in given],
        many=True,
    )


def bins() -> Kind:
    """A rule for bins."""

    def is_rule(value: Any) -> bool:
        given = isinstance(value, (str, int)) and not isinstance(value, bool)
        match = re.fullmatch(r'([1-9][0-9]*)(?::([1-9][0-9]*))?', str(value)) if given else None
        return match is not None and (match[2] is None or int(match[1]) <= int(match[2]))

    allowed = "SMALLEST:LARGEST in channels, such as '1:32', or how many bins a group has, such as 20"
    return Kind(allowed, is_rule, 'RULE')


def budgets() -> Kind:
    """One budget or several (see `BudgetSpecs`); the value stays as it is written."""

    def check(value: Any) -> Any:
        BudgetSpecs.of(value)
        return value

    return Kind(
        'a share of the MACs such as 50%, a count such as 300M, several of them for a family of networks, or limits such '
        'as macs=50% params=5M latency=5ms ({macs: 50%, params: 5M} in a file)',
        _Checked(check, lambda error: getattr(error, 'why', first_line(error))),
        'BUDGET',
        _budget,
        many=True,
    )


def _budget(given: list[str]) -> Any:
    pairs = [word.partition('=') for word in given]
    if all(equals for _, equals, _ in pairs):
        return {key: number_of([value]) if key in ('batch', 'threads') else value for key, _, value in pairs}
    return given[0] if len(given) == 1 else list(given)


def _epochs(value: Any) -> Any:
    if not is_list(value, int):
        raise ValueError
    Halving(value)
    return value


def number_of(given: list[str]) -> Any:
    """Return the number that a word is, or the word."""
    for convert in (int, float):
        try:
            return convert(given[0])
        except ValueError:
            continue
    return given[0]


def is_list(value: Any, kind: type) -> bool:
    """Whether a value is a list or tuple of values of a kind, with one or more of them; truth values are not numbers."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and bool(value)
        and all(isinstance(each, kind) and not isinstance(each, bool) for each in value)
    )
