"""The fields as a table for the documentation: ``python -m nni_cafenet.cli.config.fields_table`` prints it."""

from __future__ import annotations

from typing import Any

from ...utils import as_markdown
from .fields import FIELDS, REQUIRED, Field

__all__ = ['fields_table']


def fields_table() -> str:
    """Return all fields as a Markdown table: place, option, what is allowed, default, meaning."""
    rows = [[f'`{each.path}`', f'`{each.flag}`', each.kind.allowed, _default(each), each.help] for each in FIELDS]
    return as_markdown(['field', 'option', 'allowed', 'default', 'meaning'], rows, align='lllll')


def _default(field: Field) -> str:
    if field.default is REQUIRED:
        return 'must be given'
    return _shown(field.default) + ('' if field.fresh is None else f' ({_shown(field.fresh)})')


def _shown(value: Any) -> str:
    if value is None or value == {}:
        return 'none'
    return f'`{str(value).lower() if isinstance(value, bool) else value}`'


if __name__ == '__main__':
    print(fields_table())  # noqa: T201
