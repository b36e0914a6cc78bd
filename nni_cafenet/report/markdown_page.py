"""Rendering of a page as Markdown with linked figures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import singledispatch

from ..utils import as_markdown
from .document import Block, Code, Heading, Picture, Points, Table, Text

__all__ = ['markdown_page']

_MARKUP = re.compile(r'[\\`*<\[\]$]|__')


def markdown_page(title: str, blocks: Sequence[Block], pictures: str) -> str:
    """Return a page as Markdown; `pictures` is the folder of the figures, relative to the page."""
    parts = [f'# {_plain(title)}']
    for block in blocks:
        parts.append(_picture(block, pictures) if isinstance(block, Picture) else _markdown(block))
    return '\n\n'.join(parts) + '\n'


@singledispatch
def _markdown(block: Block) -> str:
    raise TypeError(f'{type(block).__name__} has no Markdown form')


@_markdown.register
def _(block: Heading) -> str:
    return f'## {_plain(block.text)}'


@_markdown.register
def _(block: Text) -> str:
    return _plain(block.text)


@_markdown.register
def _(block: Points) -> str:
    return '\n'.join(f'- {_plain(item)}' for item in block.items)


@_markdown.register
def _(block: Code) -> str:
    return '\n'.join(['```python', *block.lines, '```'])


@_markdown.register
def _(block: Table) -> str:
    cells = [[_plain(cell) if isinstance(cell, str) else cell for cell in row] for row in block.rows]
    table = as_markdown([_plain(header) for header in block.headers], cells)
    if block.folded is None:
        return table
    return f'<details>\n<summary>{_plain(block.folded)}</summary>\n\n{table}\n\n</details>'


def _picture(block: Picture, folder: str) -> str:
    return f'![{_plain(block.alt)}]({folder}/{block.name})\n\n*{_plain(block.caption)}*'


def _plain(text: str) -> str:
    """Return text on one line with Markdown escaped."""
    return _MARKUP.sub(lambda match: ''.join(f'\\{letter}' for letter in match.group()), ' '.join(text.split()))
