"""A figure of the rise of the loss when one channel group alone becomes narrower."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .layers import check_plot
from .style import GREY, drawing, plain, rendered, shortened

__all__ = ['sensitivity_plot']

# Lengths are inches.
_WIDTH = 9.0
_ROW = 0.2
_HEAD, _FOOT = 0.75, 0.6
_LETTERS = 34  # of a name


def sensitivity_plot(rows: Sequence[tuple[str, Sequence[tuple[float, float]]]], *, suffix: str = '.svg') -> bytes:
    """Draw the rise of the loss for every group, in network order from the top: a dot per width, darker if narrower.

    ``rows`` are ``(label, [(share of the full width, rise of the loss), ...])``. Raises ValueError without rows, or if
    ``suffix`` is not ``'.svg'``, ``'.png'`` or ``'.pdf'``.
    """
    check_plot(suffix)
    if not rows:
        raise ValueError('rows is empty: the network has no channel group')
    from matplotlib.figure import Figure

    height = _HEAD + _FOOT + _ROW * len(rows)
    with drawing({'font.size': 8}):
        figure = Figure(figsize=(_WIDTH, height), layout=None)
        axes = figure.add_axes((0.29, _FOOT / height, 0.6, 1 - (_HEAD + _FOOT) / height))
        points = _draw(axes, rows)
        figure.colorbar(points, ax=axes, label='share of the full width', fraction=0.03, pad=0.02)
        figure.text(
            0.02, 1 - 0.3 / height, 'Loss when one group alone becomes narrower', fontsize=12, fontweight='bold'
        )
        text = 'weights as trained, statistics re-estimated; the group further to the right is the more sensitive one'
        figure.text(0.02, 1 - 0.5 / height, text, color=GREY)
        return rendered(figure, suffix.lower()[1:])


def _draw(axes: Any, rows: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> Any:
    found = [
        (rise, row, share) for row, (_, points) in enumerate(rows) for share, rise in points if math.isfinite(rise)
    ]
    rises, places, shares = zip(*found) if found else ((), (), ())
    for row, (_, points) in enumerate(rows):
        reached = [rise for _, rise in points if math.isfinite(rise)]
        if reached:
            axes.plot([min(0.0, *reached), max(reached)], [row, row], color='#c9dcee', linewidth=2, zorder=1)
    dots = axes.scatter(rises, places, c=shares, cmap='Blues_r', vmin=0, vmax=1, s=22, zorder=2, edgecolors='#1d5c96')
    axes.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(rows)), [plain(shortened(label, _LETTERS)) for label, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel('rise of the loss')
    axes.grid(axis='x')
    return dots
