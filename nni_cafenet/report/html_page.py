"""Rendering of a page as a single self-contained HTML file, without scripts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import singledispatch
from html import escape

from ..utils import as_html
from .document import Block, Code, Heading, Picture, Points, Table, Text

__all__ = ['html_page']

_STYLE = """\
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1.25rem 4rem; background: #fff; color: #1f2933;
  font: 16px/1.55 system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid #e4e8ed; }
figure { margin: 1.25rem 0; }
figcaption, summary { color: #52606d; font-size: .9rem; }
summary { cursor: pointer; margin: .75rem 0; }
.wide { overflow-x: auto; }
.wide:focus-visible { outline: 2px solid #1d5c96; }
img { display: block; width: 100%; min-width: 38rem; height: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .35rem .75rem; border-bottom: 1px solid #e4e8ed; text-align: left; vertical-align: top; }
th { border-bottom-color: #9aa5b1; vertical-align: bottom; }
.r { text-align: right; }
td.r { white-space: nowrap; }
td:first-child { min-width: 9rem; }
.c { text-align: center; }
pre { overflow-x: auto; padding: .8rem 1rem; border-radius: 4px; background: #f3f5f8; font-size: .85rem; line-height: 1.5; }
@media print {
  @page { margin: 1.6cm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  .wide, pre { overflow: visible; }
  pre { white-space: pre-wrap; }
  img { min-width: 0; width: auto; max-width: 100%; max-height: 23cm; margin: 0 auto; }
}
"""


def html_page(title: str, blocks: Sequence[Block]) -> str:
    """Return a page as one HTML file, with `title` as its title and first heading."""
    heading = escape(title)
    body = '\n'.join(_html(block) for block in blocks)
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{heading}</title>
<link rel="icon" href="data:,">
<style>
{_STYLE}</style>
</head>
<body>
<main>
<h1>{heading}</h1>
{body}
</main>
</body>
</html>
"""


@singledispatch
def _html(block: Block) -> str:
    raise TypeError(f'{type(block).__name__} has no HTML form')


@_html.register
def _(block: Heading) -> str:
    return f'<h2>{escape(block.text)}</h2>'


@_html.register
def _(block: Text) -> str:
    return f'<p>{escape(block.text)}</p>'


@_html.register
def _(block: Points) -> str:
    return '\n'.join(['<ul>', *(f'<li>{escape(item)}</li>' for item in block.items), '</ul>'])


@_html.register
def _(block: Code) -> str:
    return f'<pre tabindex="0"><code>{escape(chr(10).join(block.lines))}</code></pre>'


@_html.register
def _(block: Table) -> str:
    # tabindex makes the horizontal scrolling accessible by keyboard.
    table = f'<div class="wide" tabindex="0">{as_html(block.headers, block.rows)}</div>'
    return table if block.folded is None else f'<details><summary>{escape(block.folded)}</summary>\n{table}</details>'


@_html.register
def _(block: Picture) -> str:
    data = base64.b64encode(block.svg.encode('utf-8')).decode('ascii')
    image = f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(block.alt)}">'
    caption = f'<figcaption>{escape(block.caption)}</figcaption>'
    return f'<figure><div class="wide" tabindex="0">{image}</div>\n{caption}</figure>'
