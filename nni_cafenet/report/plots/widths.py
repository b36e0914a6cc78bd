"""An SVG bar chart of widths, drawn without a plotting library."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

__all__ = ['widths_svg']

# Lengths are pixels at natural size.
_MARGIN = 28
_GAP = 12
_BARS = 520  # width of the area of the bars
_ROW = 20
_BAR = 12
_LEGEND = 36
_TICKS = 30  # height of a line of axis numbers
_TITLE_SIZE, _TITLE_LINE = 18, 25
_SUBTITLE_SIZE, _SUBTITLE_LINE = 13, 19
_SIZE = 12

_MONOSPACED = 0.602 * _SIZE  # letter width of labels and numbers
_SANS_LETTER = 0.56  # mean letter width of titles, relative to the font size
_LONGEST_LABEL = 44
_MOST_TICKS = 8
_AXIS_NAME = 'channels'

_MONOSPACE_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_SANS_FONT = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"

_PAPER, _INK, _GREY = '#ffffff', '#1f2933', '#5f6c7b'
_GRID, _AXIS = '#e4e8ed', '#9aa5b1'
_FULL, _CHOSEN = '#c9dcee', '#1d5c96'
_RIGHT = 'text-anchor="end"'

_NOT_XML = re.compile('[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')


def widths_svg(
    full: Mapping[str, int],
    widths: Mapping[str, int],
    *,
    title: str,
    subtitle: str | None = None,
) -> str:
    """Draw a bar chart of widths as SVG: one row per channel group, the chosen width over the full width.

    Long titles are wrapped. Labels longer than 44 letters are elided, and shown in full when the mouse is over the row.
    Raises ValueError if there are no groups, the groups differ, or a width is out of range.

    >>> svg = widths_svg({'conv1': 64, 'fc1': 128}, {'conv1': 31, 'fc1': 128}, title='A small network')
    >>> svg.startswith('<svg')
    True
    """
    _check(full, widths)
    page = _Page.of(full, title, subtitle)
    lines = [*_heading(page), *_axis(page)]
    lines.append(f'<g font-family="{_MONOSPACE_FONT}" font-size="{_SIZE}">')
    for row, label in enumerate(full):
        lines += _row(page, row, label, int(full[label]), int(widths[label]))
    lines += ['</g>', '</svg>']
    return '\n'.join(lines) + '\n'


@dataclass(frozen=True)
class _Page:
    """Layout in pixels from the upper left corner."""

    title: list[str]
    subtitle: list[str]
    left: float  # of the bar area
    top: float
    bottom: float
    counts_right: float  # right edge of the column '31 / 64'
    width: float
    height: float
    step: int  # channels between ticks
    channels: int  # at the right end of the axis

    @classmethod
    def of(cls, full: Mapping[str, int], title: str, subtitle: str | None) -> _Page:
        widest = int(max(full.values()))
        step = _tick_step(widest)
        left = _MARGIN + _MONOSPACED * max(len(_shortened(label)) for label in (*full, _AXIS_NAME)) + _GAP
        counts_right = left + _BARS + _GAP + _MONOSPACED * len(f'{widest} / {widest}')
        width = counts_right + _GAP + _MONOSPACED * len('100 %') + _MARGIN
        titles = _wrapped(title, _TITLE_SIZE, width)
        subtitles = _wrapped(subtitle or '', _SUBTITLE_SIZE, width)
        top = _MARGIN + len(titles) * _TITLE_LINE + len(subtitles) * _SUBTITLE_LINE + _LEGEND + _TICKS
        bottom = top + len(full) * _ROW
        return cls(
            title=titles,
            subtitle=subtitles,
            left=left,
            top=top,
            bottom=bottom,
            counts_right=counts_right,
            width=width,
            height=bottom + _TICKS + _MARGIN,
            step=step,
            channels=-(-widest // step) * step,
        )

    def x(self, channels: int) -> float:
        """Return the axis position of a number of channels."""
        return self.left + _BARS * channels / self.channels


def _check(full: Mapping[str, int], widths: Mapping[str, int]) -> None:
    if not full:
        raise ValueError('full has no channel groups: nothing to draw')
    missing = [label for label in full if label not in widths]
    unknown = [label for label in widths if label not in full]
    if missing or unknown:
        raise ValueError(f'widths must name the groups of full; missing: {missing}, unknown: {unknown}')
    for label, width in widths.items():
        if not 1 <= width <= full[label]:
            raise ValueError(f'widths[{label!r}] is {width}, but must be from 1 to {full[label]}')


def _heading(page: _Page) -> Iterator[str]:
    """Yield the frame, titles and legend."""
    size = f'width="{page.width:.0f}" height="{page.height:.0f}"'
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {page.width:.0f} {page.height:.0f}" '
        f'font-family="{_SANS_FONT}" fill="{_INK}" role="img">'
    )
    yield f'<title>{_safe(" ".join(page.title))}</title>'
    yield f'<rect width="100%" height="100%" fill="{_PAPER}"/>'
    x, y = float(_MARGIN), _MARGIN - 7.0
    for line in page.title:
        y += _TITLE_LINE
        yield _text(x, y, line, f'font-size="{_TITLE_SIZE}" font-weight="600"')
    for line in page.subtitle:
        y += _SUBTITLE_LINE
        yield _text(x, y, line, f'font-size="{_SUBTITLE_SIZE}" fill="{_GREY}"')
    x, y = page.left, page.top - _TICKS - 14
    for color, text in ((_CHOSEN, 'chosen width'), (_FULL, 'full width')):
        yield _bar(x, y - 10, 18, color)
        yield _text(x + 25, y, text, f'font-size="{_SIZE}"')
        x += 135


def _axis(page: _Page) -> Iterator[str]:
    """Yield the grid lines and their tick labels."""
    yield f'<g font-size="{_SIZE}" fill="{_GREY}" text-anchor="middle">'
    for channels in range(0, page.channels + 1, page.step):
        x, color = page.x(channels), _GRID if channels else _AXIS
        yield f'<path d="M{x:.1f} {page.top - 4:.1f}V{page.bottom + 4:.1f}" stroke="{color}"/>'
        yield _text(x, page.top - 11, str(channels))
        yield _text(x, page.bottom + 19, str(channels))
    yield _text(page.left - _GAP, page.top - 11, _AXIS_NAME, _RIGHT)
    yield '</g>'


def _row(page: _Page, row: int, label: str, full: int, width: int) -> Iterator[str]:
    """Yield the label, bars and numbers of one channel group."""
    middle = page.top + (row + 0.5) * _ROW
    base = middle + 4.2
    percent = f'{100 * width / full:.0f} %'
    yield f'<g><title>{_safe(label)}: {width} of {full} channels, {percent}</title>'
    # Shows the tooltip over the whole row.
    top = middle - _ROW / 2
    yield f'<rect y="{top:.1f}" width="100%" height="{_ROW}" fill="{_PAPER}" fill-opacity="0"/>'
    yield _text(page.left - _GAP, base, _shortened(label), _RIGHT)
    for channels, color in ((full, _FULL), (width, _CHOSEN)):
        yield _bar(page.left, middle - _BAR / 2, max(page.x(channels) - page.left, 1), color)
    yield _text(page.counts_right, base, f'{width} / {full}', _RIGHT)
    yield _text(page.width - _MARGIN, base, percent, f'{_RIGHT} fill="{_GREY}"')
    yield '</g>'


def _text(x: float, y: float, text: str, attributes: str = '') -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{_safe(text)}</text>'


def _bar(x: float, y: float, length: float, color: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{length:.1f}" height="{_BAR}" fill="{color}"/>'


def _tick_step(widest: int) -> int:
    """Return the smallest power of two that yields few ticks, since most full widths are multiples of one."""
    step = 1
    while -(-widest // step) > _MOST_TICKS:
        step *= 2
    return step


def _shortened(label: str) -> str:
    if len(label) <= _LONGEST_LABEL:
        return label
    end = (_LONGEST_LABEL - 1) // 2
    return f'{label[: _LONGEST_LABEL - 1 - end]}…{label[-end:]}'


def _wrapped(text: str, size: int, width: float) -> list[str]:
    return textwrap.wrap(text, int((width - 2 * _MARGIN) / (size * _SANS_LETTER)))


def _safe(text: str) -> str:
    """Escape markup and replace characters that XML does not allow."""
    return escape(_NOT_XML.sub('�', text))
