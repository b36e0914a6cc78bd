"""A before/after bar chart: MACs of layers or widths of groups."""

from __future__ import annotations

import math
import os.path
from collections.abc import Sequence
from typing import Any

from ...utils import format_count
from .style import BEFORE, NOW, drawing, plain, rendered, shortened, show_counts

__all__ = ['MOST_BARS', 'before_after_svg']

MOST_BARS = 60
"""Maximum number of rows drawn as labeled bars; more are drawn as outlines."""

# Lengths are inches.
_WIDTH = 8.5
_ROW, _LEFT, _RIGHT, _FRAME = 0.2, 2.5, 1.4, 0.95
_OUTLINE_HEIGHT = 4.6
_LETTERS = 34  # of a name
_MOST_NAMES = 40  # below an outline


def before_after_svg(
    rows: Sequence[tuple[str, int, int]], *, unit: str, before: str = 'full', after: str = 'slim'
) -> str:
    """Draw a before/after bar chart of ``rows`` (name, before, after) as SVG; two outlines for more than `MOST_BARS` rows.

    ``unit`` is the quantity and its unit, such as ``'MACs of one sample'``. Raises ValueError without rows.
    """
    if not rows:
        raise ValueError('rows is empty: there is nothing to draw')
    from matplotlib.figure import Figure

    few = len(rows) <= MOST_BARS
    height = _FRAME + _ROW * len(rows) if few else _OUTLINE_HEIGHT
    with drawing():
        figure = Figure(figsize=(_WIDTH, height), layout=None if few else 'constrained')
        if few:
            # Set the frame manually so that rows have the same height in every figure.
            box = (_LEFT / _WIDTH, 0.5 / height, 1 - (_LEFT + _RIGHT) / _WIDTH, 1 - _FRAME / height)
            axes = figure.add_axes(box)
            _bars(axes, rows)
            axes.set_xlabel(unit)
        else:
            axes = figure.add_subplot()
            _outlines(axes, rows)
            axes.set_ylabel(unit)
        handles, _ = axes.get_legend_handles_labels()
        names = [plain(shortened(name, _LETTERS)) for name in (before, after)]
        axes.legend(handles, names, loc='lower left', bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
        return rendered(figure).decode('utf-8')


def _bars(axes: Any, rows: Sequence[tuple[str, int, int]]) -> None:
    places = range(len(rows))
    axes.barh(places, [before for _, before, _ in rows], height=0.74, color=BEFORE, label='before')
    axes.barh(places, [after for *_, after in rows], height=0.74, color=NOW, label='after')
    axes.set_yticks(places, [plain(shortened(name, _LETTERS)) for name, *_ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, _top(rows))
    show_counts(axes.xaxis)
    axes.grid(axis='x')
    axes.tick_params(axis='y', length=0, labelcolor='black')
    for place, (_, before, after) in enumerate(rows):
        text = f'{format_count(after)} of {format_count(before)}'
        axes.annotate(
            text,
            (1, place),
            xycoords=('axes fraction', 'data'),
            xytext=(8, 0),
            textcoords='offset points',
            va='center',
            annotation_clip=False,
        )


def _outlines(axes: Any, rows: Sequence[tuple[str, int, int]]) -> None:
    edges = [place - 0.5 for place in range(len(rows) + 1)]
    axes.stairs([before for _, before, _ in rows], edges, fill=True, color=BEFORE, label='before')
    axes.stairs([after for *_, after in rows], edges, fill=True, color=NOW, label='after')
    names = _without_common_start([name for name, *_ in rows])
    places = range(0, len(rows), math.ceil(len(rows) / _MOST_NAMES))
    axes.set_xticks(places, [plain(shortened(names[place], 28)) for place in places], rotation=90, fontsize=8)
    axes.set_xlim(-0.5, len(rows) - 0.5)
    axes.set_ylim(0, _top(rows) * 1.02)
    show_counts(axes.yaxis)
    axes.grid(axis='y')


def _without_common_start(names: Sequence[str]) -> list[str]:
    """Strip the common module prefix from names."""
    start = os.path.commonprefix(list(names))
    return [name[start.rfind('.') + 1 :] for name in names]


def _top(rows: Sequence[tuple[str, int, int]]) -> int:
    """Return the end of the axis."""
    return max(max(before, after) for _, before, after in rows) or 1
