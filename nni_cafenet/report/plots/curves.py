"""A figure of training curves: one panel per metric, one line per stage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from .style import GREY, drawing, plain, rendered, scale, shortened

__all__ = ['curves_svg']

_WIDTH, _PANEL, _LEGEND_ROW = 8.5, 2.9, 0.22  # inches
_LINES = ('-', '--', ':', '-.')
_COLOURS = ('#1d5c96', '#c2410c', '#2f7d4f', '#8e5bb5', '#b8860b', '#4b9fb5', '#a33b5c', '#5f6c7b')
_FEW = 40  # maximum number of marked points


def curves_svg(curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]) -> str:
    """Draw training curves, ``{stage: {metric: [(epoch, value), ...]}}``, as SVG: one panel per metric, two per row.

    Non-finite values become gaps; axes are logarithmic if values span a wide range. Raises ValueError without values.
    """
    metrics = list(dict.fromkeys(metric for stage in curves.values() for metric, points in stage.items() if points))
    if not metrics:
        raise ValueError('curves has no values: nothing to draw')
    from matplotlib.figure import Figure

    columns = 1 if len(metrics) == 1 else 2
    rows = math.ceil(len(metrics) / columns)
    with drawing():
        legend_rows = math.ceil(len(curves) / 3)
        figure = Figure(figsize=(_WIDTH, rows * _PANEL + legend_rows * _LEGEND_ROW), layout='constrained')
        for place, metric in enumerate(metrics, start=1):
            _panel(figure.add_subplot(rows, columns, place), curves, metric)
        handles = [_line(stage, number) for number, stage in enumerate(curves)]
        figure.legend(handles=handles, loc='outside upper left', ncols=3)
        return rendered(figure).decode('utf-8')


def _panel(axes: Any, curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], metric: str) -> None:
    from matplotlib.ticker import MaxNLocator

    points = [point for stage in curves.values() for point in stage.get(metric, ())]
    finite = [value for _, value in points if math.isfinite(value)]
    scale(axes.yaxis, finite)
    for number, (stage, of_stage) in enumerate(curves.items()):
        own = of_stage.get(metric, ())
        line = _line(stage, number)
        line.set_data([epoch for epoch, _ in own], [value if math.isfinite(value) else math.nan for _, value in own])
        line.set_marker('o' if len(own) <= _FEW else '')
        axes.add_line(line)
    axes.autoscale(axis='y')
    if not finite:
        axes.set_yticks([])
        axes.text(0.5, 0.5, 'no value is finite', transform=axes.transAxes, ha='center', color=GREY)
    epochs = [epoch for epoch, _ in points]
    margin = max(0.03 * (max(epochs) - min(epochs)), 0.3)
    axes.set_xlim(min(epochs) - margin, max(epochs) + margin)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel('epoch')
    axes.set_title(plain(shortened(metric, 50)), loc='left', fontsize=10)
    axes.grid()


def _line(stage: str, number: int) -> Any:
    """Return the line of a stage; dashes distinguish stages in black and white."""
    from matplotlib.lines import Line2D

    turn, place = divmod(number, len(_COLOURS))
    color, dashes = _COLOURS[place], cast('Any', _LINES[(place + turn) % len(_LINES)])
    return Line2D(
        [], [], color=color, linestyle=dashes, linewidth=1.4, markersize=2.8, label=plain(shortened(stage, 34))
    )
