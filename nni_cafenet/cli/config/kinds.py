"""Kinds of values that occur only on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import first_line
from ...options import Kind, is_list, number_of
from ..data import FORMS, check_form

__all__ = ['mapping', 'shape', 'source']


def shape() -> Kind:
    """The shape of an input, batch first."""
    return Kind(
        'the sizes of an input, the batch first, such as 1 3 224 224 ([1, 3, 224, 224] in a file)',
        lambda value: is_list(value, int) and len(value) > 1 and all(size > 0 for size in value),
        'N',
        lambda given: [number_of([word]) for word in given],
        many=True,
    )


def mapping() -> Kind:
    """Arguments by name."""
    return Kind(
        'arguments as NAME=VALUE ({NAME: VALUE} in a file)',
        lambda value: isinstance(value, Mapping) and all(isinstance(key, str) and key.isidentifier() for key in value),
        'NAME=VALUE',
        _arguments,
        many=True,
    )


def source() -> Kind:
    """A source of data."""

    def is_source(value: Any) -> bool:
        from schema import SchemaError

        if not isinstance(value, str):
            return False
        try:
            check_form(value)
        except ValueError as error:
            raise SchemaError(None, first_line(error).partition(': ')[2]) from error
        return True

    *most, last = FORMS
    forms = f'{", ".join(most)} or {last}'
    return Kind(forms, is_source, 'SOURCE')


def _arguments(given: list[str]) -> Any:
    from ..yaml_files import parse_value

    pairs = [word.partition('=') for word in given]
    if not all(equals for _, equals, _ in pairs):
        return given
    return {key: parse_value(value) for key, _, value in pairs}
