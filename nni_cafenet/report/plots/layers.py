"""A figure of the MACs of each layer, colored by channel group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...utils import format_count
from .style import GREY, drawing, plain, rendered, shortened

__all__ = ['PLOT_SUFFIXES', 'check_plot', 'layers_plot']

PLOT_SUFFIXES = ('.svg', '.png', '.pdf')
"""Supported file name extensions."""

# Lengths are inches.
_WIDTH = 11.0
_ROW = 0.19
_HEAD, _FOOT = 0.75, 0.5
_MOST_ROWS = 400
_NO_GROUP = '#b0b7c0'
_LETTERS = 38  # of a name


def check_plot(suffix: str) -> None:
    """Raise ValueError if a file name extension is not one of `PLOT_SUFFIXES`, case-insensitively."""
    if suffix.lower() not in PLOT_SUFFIXES:
        raise ValueError(
            f'cannot save a figure as a {suffix or "nameless"} file: end its name in {", ".join(PLOT_SUFFIXES)}'
        )


def layers_plot(layers: Sequence[tuple[str, int, str | None]], *, title: str, suffix: str = '.svg') -> bytes:
    """Draw the MACs of each layer as bars, from first (top) to last; the same layers give the same file.

    ``layers`` are name, MACs of one sample, and the channel group; None if outputs are fixed. Only the 400 layers with
    the most MACs are drawn. Layers that produce the same group share a color and show its label; colors repeat after
    eighteen groups. Raises ValueError without layers, or if ``suffix`` is not ``'.svg'``, ``'.png'`` or ``'.pdf'``.
    """
    check_plot(suffix)
    if not layers:
        raise ValueError('layers is empty: the model has no multiply-accumulates to draw')
    from matplotlib.figure import Figure

    drawn = _largest(layers)
    height = _HEAD + _FOOT + _ROW * len(drawn)
    with drawing({'font.size': 8}):
        figure = Figure(figsize=(_WIDTH, height), layout=None)
        _draw(figure.add_axes((0.27, _FOOT / height, 0.46, 1 - (_HEAD + _FOOT) / height)), drawn)
        figure.text(0.02, 1 - 0.3 / height, plain(title), fontsize=12, fontweight='bold')
        figure.text(0.02, 1 - 0.5 / height, _subtitle(layers, drawn), color=GREY)
        return rendered(figure, suffix.lower()[1:])


def _largest(layers: Sequence[tuple[str, int, str | None]]) -> list[tuple[str, int, str | None]]:
    """Return the layers with the most MACs, in network order."""
    ranked = sorted(range(len(layers)), key=lambda index: -layers[index][1])
    return [layers[index] for index in sorted(ranked[:_MOST_ROWS])]


def _draw(axes: Any, layers: Sequence[tuple[str, int, str | None]]) -> None:
    from matplotlib import colormaps

    tab20 = colormaps['tab20']
    groups = list(dict.fromkeys(group for *_, group in layers if group is not None))
    # Nine dark colors, then nine light ones; the gray pair resembles _NO_GROUP.
    order = [*range(0, 14, 2), 16, 18, *range(1, 15, 2), 17, 19]
    colors: dict[str | None, Any] = {group: tab20(order[index % len(order)]) for index, group in enumerate(groups)}
    rows = range(len(layers))
    axes.barh(rows, [macs for _, macs, _ in layers], color=[colors.get(group, _NO_GROUP) for *_, group in layers])
    axes.set_yticks(rows, [plain(shortened(name or '(the model itself)', _LETTERS)) for name, *_ in layers])
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set_xlim(0, max(macs for _, macs, _ in layers) or 1)
    axes.set_xlabel('MACs of one sample')
    axes.xaxis.set_major_formatter(lambda value, _: format_count(value))
    axes.grid(axis='x')
    axes.tick_params(axis='y', length=0)
    for row, (_, macs, group) in enumerate(layers):
        text = f'{format_count(macs)}  {plain(shortened(group, _LETTERS)) if group else "no group"}'
        axes.annotate(text, (macs, row), xytext=(4, 0), textcoords='offset points', va='center', annotation_clip=False)


def _subtitle(layers: Sequence[tuple[str, int, str | None]], drawn: Sequence[tuple[str, int, str | None]]) -> str:
    text = 'MACs of each layer; color and label: the channel group that the layer produces'
    if len(drawn) < len(layers):
        share = sum(macs for _, macs, _ in drawn) / max(sum(macs for _, macs, _ in layers), 1)
        text += f'; {len(drawn)} of {len(layers)} layers, {100 * share:.1f} % of the MACs'
    return text
