"""Kinds of values: what is allowed, and how words of a shell become one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import first_line
from ...options import BudgetSpecs
from ..data import check_form

__all__ = [
    'Kind',
    'ascending',
    'bins',
    'budget',
    'choice',
    'flag',
    'mapping',
    'name',
    'number',
    'shape',
    'source',
    'whole',
    'words',
]

_BINS = re.compile(r'([1-9][0-9]*)(?::([1-9][0-9]*))?')


@dataclass(frozen=True)
class Kind:
    """
    A kind of values.

    Parameters
    ----------
    allowed
        What is allowed, in words: 'must be ...'.
    validator
        What `schema` validates a value by.
    from_words
        Makes a value of the words that follow an option; what it cannot make one of stays as it is, to be refused by the
        validator.
    many
        Whether several words may follow an option.
    """

    allowed: str
    validator: Any
    from_words: Callable[[list[str]], Any] = lambda words: words[0]
    many: bool = False

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with a value; None where it is allowed."""
        from schema import Schema, SchemaError

        try:
            Schema(self.validator).validate(value)
        except SchemaError as error:
            why = next((text for text in reversed(error.errors) if text), None)
            return f'must be {self.allowed}' + (f' ({why})' if why else '')
        return None

    def or_none(self) -> Kind:
        """Return the kind that null is of, too."""

        def validate(value: Any) -> Any:
            from schema import Schema

            return None if value is None else Schema(self.validator).validate(value)

        return Kind(self.allowed, _Valid(validate), self.from_words, self.many)


class _Valid:
    """A function as `schema` calls it: what it raises stays as it is."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def validate(self, value: Any, **kwargs: Any) -> Any:
        return self.function(value)


def whole(least: int) -> Kind:
    """Whole numbers from some number on."""
    return Kind(f'a whole number, {least} or more', lambda value: _is_whole(value) and value >= least, _number)


def number(allowed: str, within: Callable[[float], bool]) -> Kind:
    """Numbers within a range."""
    return Kind(allowed, lambda value: _is_number(value) and within(value), _number)


def choice(*names: str) -> Kind:
    """One of some words."""
    return Kind(f'one of {", ".join(names)}', lambda value: value in names)


def flag() -> Kind:
    """True or false."""
    return Kind('true or false', bool)


def name(allowed: str) -> Kind:
    """A text that is not empty."""
    return Kind(allowed, lambda value: isinstance(value, str) and bool(value))


def words(allowed: str) -> Kind:
    """A list of texts."""
    return Kind(allowed, lambda value: _is_list(value, str), lambda given: given, many=True)


def shape() -> Kind:
    """The shape of an input, the batch first."""
    return Kind(
        'the sizes of an input, the batch first, such as 1 3 224 224 ([1, 3, 224, 224] in a file)',
        lambda value: _is_list(value, int) and len(value) > 1 and all(_is_whole(size) and size > 0 for size in value),
        lambda given: [_number([word]) for word in given],
        many=True,
    )


def ascending() -> Kind:
    """Ascending whole numbers, 1 or more."""
    return Kind(
        'ascending whole numbers, such as 2 4 8 ([2, 4, 8] in a file)',
        lambda value: (
            _is_list(value, int)
            and all(_is_whole(each) and each > 0 for each in value)
            and all(a < b for a, b in zip(value, value[1:]))
        ),
        lambda given: [_number([word]) for word in given],
        many=True,
    )


def mapping() -> Kind:
    """Arguments by name."""
    return Kind(
        'arguments as NAME=VALUE ({NAME: VALUE} in a file)',
        lambda value: isinstance(value, Mapping) and all(isinstance(key, str) and key.isidentifier() for key in value),
        _arguments,
        many=True,
    )


def source() -> Kind:
    """A source of data."""

    def validate(value: Any) -> Any:
        if not isinstance(value, str):
            raise _refusal('')
        try:
            check_form(value)
        except ValueError as error:
            raise _refusal(first_line(error).partition(': ')[2]) from error
        return value

    forms = 'digits, imagefolder:DIR, cifar10:DIR, fashion-mnist[:DIR], package.module:function or file.py:function'
    return Kind(forms, _Valid(validate))


def bins() -> Kind:
    """A rule for bins."""

    def is_rule(value: Any) -> bool:
        match = _BINS.fullmatch(str(value)) if isinstance(value, str) or _is_whole(value) else None
        return match is not None and (match[2] is None or int(match[1]) <= int(match[2]))

    return Kind("SMALLEST:LARGEST in channels, such as '1:32', or how many bins a group has, such as 20", is_rule)


def budget() -> Kind:
    """One budget, several, or limits on several costs."""

    def validate(value: Any) -> Any:
        try:
            BudgetSpecs.of(value)
        except ValueError as error:
            raise _refusal(getattr(error, 'why', first_line(error))) from error
        return value

    return Kind(
        'a share of the MACs such as 50%, a count such as 300M, several of them for a family of networks, or limits such '
        'as macs=50% params=5M latency=5ms ({macs: 50%, params: 5M} in a file)',
        _Valid(validate),
        _budget,
        many=True,
    )


def _budget(given: list[str]) -> Any:
    pairs = [word.partition('=') for word in given]
    if all(equals for _, equals, _ in pairs):
        return {key: _number([value]) if key in ('batch', 'threads') else value for key, _, value in pairs}
    return given[0] if len(given) == 1 else list(given)


def _arguments(given: list[str]) -> Any:
    from .yaml_files import parse_value

    pairs = [word.partition('=') for word in given]
    if not all(equals for _, equals, _ in pairs):
        return given
    return {key: parse_value(value) for key, _, value in pairs}


def _refusal(why: str) -> Exception:
    from schema import SchemaError

    return SchemaError(None, why or None)  # type: ignore[no-any-return]


def _number(given: list[str]) -> Any:
    for kind in (int, float):
        try:
            return kind(given[0])
        except ValueError:
            continue
    return given[0]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_list(value: Any, kind: type) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and bool(value)
        and all(isinstance(each, kind) for each in value)
    )
