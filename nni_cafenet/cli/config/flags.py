"""The fields as options of a command."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from .configuration import Given
from .fields import FIELDS, SECTIONS, Field

__all__ = ['add_flags', 'given_flags']


def add_flags(parser: argparse.ArgumentParser, paths: Iterable[str] | None = None) -> None:
    """Add an option for every field of the command; None: all fields."""
    chosen = None if paths is None else set(paths)
    for section, title in SECTIONS.items():
        fields = [f for f in FIELDS if f.section == section and (chosen is None or f.path in chosen)]
        if fields:
            group = parser.add_argument_group(section or 'job', title)
            for field in fields:
                _add(group, field)


def given_flags(options: argparse.Namespace) -> dict[str, Given]:
    """Return the values of given options, by the paths of fields."""
    found = {}
    for field in FIELDS:
        words = getattr(options, field.path, None)
        if words is not None:
            value = words if isinstance(words, bool) else field.kind.from_words(words)
            found[field.path] = Given(field.flag, value)
    return found


def _add(group: argparse._ArgumentGroup, field: Field) -> None:
    default = field.default if isinstance(field.default, (int, float, str)) else None
    if isinstance(default, bool):
        group.add_argument(
            field.flag, dest=field.path, action='store_const', const=not default, help=_negated(field, default)
        )
        return
    shown = '' if default is None else f' (default: {default}{_fresh(field)})'
    group.add_argument(
        field.flag,
        dest=field.path,
        nargs='+' if field.kind.many else 1,
        metavar=field.kind.metavar,
        help=(field.help + shown).replace('%', '%%'),
    )


def _fresh(field: Field) -> str:
    return '' if field.fresh is None else f'; {field.fresh} from fresh weights'


def _negated(field: Field, default: bool) -> str:
    return f'turn off: {field.help}' if default else field.help
