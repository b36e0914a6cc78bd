"""Tables for terminals, Markdown and HTML."""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Literal, cast

import prettytable

__all__ = ['as_html', 'as_markdown', 'as_table']

_ALIGNMENTS = 'lcr'
_EMPTY = '-'

# Numeric cells: 12, -0.5, 1e-05, 1.81G, 98.1 %, 5.12 ms, 31 / 64, 97.4 ± 0.3.
_NUMBER = r'[+-]?(\d[\d,_]*(\.\d*)?|\.\d+)(e[+-]?\d+)?\s?([KMGTP%]|[nuµm]?s)?'
_NUMERIC = re.compile(rf'{_NUMBER}(\s?(/|±|\+/-|x)\s?{_NUMBER})?|nan|[+-]?inf', re.ASCII)


def as_table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, align: str | None = None) -> str:
    """Format a table for the terminal, in Markdown syntax without alignment or escapes.

    Headers are distinct. Floats are shown with four significant digits, `None` as `-`. ``align`` has a letter per
    column, `l`, `c` or `r`; by default numeric columns are aligned right, others left.

    >>> print(as_table(['network', 'MACs'], [['full', '1.81G'], ['slim', '907M']]))
    | network |  MACs |
    |---------|-------|
    | full    | 1.81G |
    | slim    |  907M |
    """
    return _filled(headers, [[_text(cell) for cell in row] for row in rows], align).get_string()


def as_markdown(headers: Sequence[str], rows: Iterable[Sequence[object]], *, align: str | None = None) -> str:
    """Format a Markdown table with alignment; `|` in a cell is escaped, and a line break becomes `<br>`.

    >>> print(as_markdown(['network', 'MACs'], [['full', '1.81G'], ['slim', '907M']]))
    | network |  MACs |
    | :-------|-----: |
    | full    | 1.81G |
    | slim    |  907M |
    """
    cells = [[_escaped(_text(cell)) for cell in row] for row in rows]
    table = _filled([_escaped(header) for header in headers], cells, align)
    # The enumeration is the newer name of the same constants.
    table.set_style(getattr(prettytable, 'TableStyle', prettytable).MARKDOWN)
    return table.get_string()


def as_html(headers: Sequence[str], rows: Iterable[Sequence[object]], *, align: str | None = None) -> str:
    """Format an unstyled HTML table; right-aligned and centered cells have the class ``r`` or ``c``.

    >>> print(as_html(['network', 'MACs'], [['slim', '907M']]))
    <table>
    <thead><tr><th scope="col">network</th><th scope="col" class="r">MACs</th></tr></thead>
    <tbody>
    <tr><td>slim</td><td class="r">907M</td></tr>
    </tbody>
    </table>
    """
    cells = [[_text(cell) for cell in row] for row in rows]
    align = _checked(headers, cells, align)

    def line(tag: str, texts: Sequence[str], attributes: str = '') -> str:
        classes = ['' if letter == 'l' else f' class="{letter}"' for letter in align]
        return ''.join(f'<{tag}{attributes}{kind}>{escape(text)}</{tag}>' for text, kind in zip(texts, classes))

    head = line('th', list(headers), ' scope="col"')
    body = ''.join(f'<tr>{line("td", row)}</tr>\n' for row in cells)
    return f'<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>'


def _checked(headers: Sequence[str], rows: list[list[str]], align: str | None) -> str:
    """Validate a table and return its alignment."""
    headers = list(headers)
    if not headers or len(set(headers)) < len(headers):
        raise ValueError(f'headers must be one distinct name per column; got {headers}')
    for number, row in enumerate(rows):
        if len(row) != len(headers):
            raise ValueError(f'row {number} has {len(row)} cells for {len(headers)} columns: {row}')
    if align is None:
        return ''.join(_alignment([row[column] for row in rows]) for column in range(len(headers)))
    if len(align) != len(headers) or not set(align) <= set(_ALIGNMENTS):
        raise ValueError(f'align must be {len(headers)} letters out of l, c and r, not {align!r}')
    return align


def _filled(headers: Sequence[str], rows: list[list[str]], align: str | None) -> prettytable.PrettyTable:
    align = _checked(headers, rows, align)
    table = prettytable.PrettyTable(list(headers))
    table.top_junction_char = table.bottom_junction_char = table.junction_char = '|'
    table.hrules = prettytable.HRuleStyle.HEADER if hasattr(prettytable, 'HRuleStyle') else prettytable.HEADER
    for header, letter in zip(headers, align):
        table.align[header] = cast('Literal["l", "c", "r"]', letter)
    table.add_rows(rows)
    return table


def _text(cell: object) -> str:
    if cell is None:
        return _EMPTY
    is_fraction = isinstance(cell, numbers.Real) and not isinstance(cell, numbers.Integral)
    return f'{cell:.4g}' if is_fraction else str(cell)


def _escaped(text: str) -> str:
    return text.replace('|', r'\|').replace('\r\n', '\n').replace('\n', '<br>')


def _alignment(cells: list[str]) -> str:
    shown = [cell.strip() for cell in cells if cell.strip() not in ('', _EMPTY)]
    return 'r' if shown and all(_NUMERIC.fullmatch(cell) for cell in shown) else 'l'
