"""A picture of the MACs of each layer, coloured by channel group. It needs matplotlib, the extra ``plot``."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from ..errors import MissingExtraError
from ..units import format_count

__all__ = ['PLOT_SUFFIXES', 'check_plot', 'layers_plot']

PLOT_SUFFIXES = ('.svg', '.png', '.pdf')
"""Endings of the names of files, which say what kind of picture is drawn."""

# Lengths are inches.
_WIDTH = 11.0
_ROW = 0.19
_HEAD, _FOOT = 0.75, 0.5
_MOST_ROWS = 400
_NO_GROUP = '#b0b7c0'
_LETTERS = 38  # of a name


def check_plot(suffix: str) -> None:
    """
    Check beforehand that a picture can be drawn.

    Parameters
    ----------
    suffix
        ``'.svg'``, ``'.png'`` or ``'.pdf'``, in upper or lower case.

    Raises
    ------
    ValueError
        If it is another one.
    nni_cafenet.errors.MissingExtraError
        If matplotlib is not installed.
    """
    if suffix.lower() not in PLOT_SUFFIXES:
        raise ValueError(
            f'a picture cannot be a {suffix or "nameless"} file: end its name in {", ".join(PLOT_SUFFIXES)}'
        )
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "a picture needs matplotlib, which is not installed: pip install 'nni-cafenet[plot]'"
        ) from error


def layers_plot(layers: Sequence[tuple[str, int, str | None]], *, title: str, suffix: str = '.svg') -> bytes:
    """
    Draw the MACs of each layer as bars, from the first layer at the top to the last.

    Parameters
    ----------
    layers
        Name, MACs (multiply-accumulates of one sample) and channel group of each layer; the group is None where
        the layer makes none that can change. Of more than 400 layers the 400 with the most MACs are drawn.
    title
        What stands above.
    suffix
        ``'.svg'``, ``'.png'`` or ``'.pdf'``.

    Returns
    -------
    bytes
        The file: the same bytes for the same layers. Layers that make the same group have one colour and name the group
        behind their bars; neighbouring groups have different colours, but colours come again after eighteen groups.

    Raises
    ------
    ValueError
        If there is no layer, or the suffix is another one.
    nni_cafenet.errors.MissingExtraError
        If matplotlib is not installed.
    """
    check_plot(suffix)
    if not layers:
        raise ValueError('layers is empty: the model has no multiply-accumulates to draw')
    import matplotlib
    from matplotlib.figure import Figure

    drawn = _largest(layers)
    height = _HEAD + _FOOT + _ROW * len(drawn)
    # Text stays text: it can be searched, and the file is small.
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'nni-cafenet', 'font.size': 8}):
        figure = Figure(figsize=(_WIDTH, height), layout=None)
        _draw(figure.add_axes((0.27, _FOOT / height, 0.46, 1 - (_HEAD + _FOOT) / height)), drawn)
        figure.text(0.02, 1 - 0.3 / height, _plain(title), fontsize=12, fontweight='bold')
        figure.text(0.02, 1 - 0.5 / height, _subtitle(layers, drawn), color='#5f6c7b')
        picture = io.BytesIO()
        kind = suffix.lower()[1:]
        undated = {} if kind == 'png' else {'Date' if kind == 'svg' else 'CreationDate': None}
        figure.savefig(picture, format=kind, dpi=110, metadata=undated)
    return picture.getvalue()


def _largest(layers: Sequence[tuple[str, int, str | None]]) -> list[tuple[str, int, str | None]]:
    """The layers with the most MACs, in the order of the network."""
    ranked = sorted(range(len(layers)), key=lambda index: -layers[index][1])
    return [layers[index] for index in sorted(ranked[:_MOST_ROWS])]


def _draw(axes: Any, layers: Sequence[tuple[str, int, str | None]]) -> None:
    from matplotlib import colormaps

    tab20 = colormaps['tab20']
    groups = list(dict.fromkeys(group for *_, group in layers if group is not None))
    # Nine strong colours, then nine light ones; the grey pair of the palette looks like _NO_GROUP.
    order = [*range(0, 14, 2), 16, 18, *range(1, 15, 2), 17, 19]
    colours: dict[str | None, Any] = {group: tab20(order[index % len(order)]) for index, group in enumerate(groups)}
    rows = range(len(layers))
    axes.barh(rows, [macs for _, macs, _ in layers], color=[colours.get(group, _NO_GROUP) for *_, group in layers])
    axes.set_yticks(rows, [_plain(_shortened(name or '(the model itself)')) for name, *_ in layers])
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set_xlim(0, max(macs for _, macs, _ in layers) or 1)
    axes.set_xlabel('MACs of one sample')
    axes.xaxis.set_major_formatter(lambda value, _: format_count(value))
    axes.grid(axis='x', color='#e4e8ed')
    axes.set_axisbelow(True)
    axes.tick_params(axis='y', length=0)
    axes.spines[['top', 'right']].set_visible(False)
    for row, (_, macs, group) in enumerate(layers):
        text = f'{format_count(macs)}  {_plain(_shortened(group)) if group else "no group"}'
        axes.annotate(text, (macs, row), xytext=(4, 0), textcoords='offset points', va='center', annotation_clip=False)


def _subtitle(layers: Sequence[tuple[str, int, str | None]], drawn: Sequence[tuple[str, int, str | None]]) -> str:
    text = 'MACs of each layer; colour and the name behind the bar: the channel group that the layer makes'
    if len(drawn) < len(layers):
        share = sum(macs for _, macs, _ in drawn) / max(sum(macs for _, macs, _ in layers), 1)
        text += f'; {len(drawn)} of {len(layers)} layers, {100 * share:.1f} % of the MACs'
    return text


def _shortened(name: str) -> str:
    if len(name) <= _LETTERS:
        return name
    return f'{name[: _LETTERS // 2]}…{name[-(_LETTERS // 2 - 1) :]}'


def _plain(text: str) -> str:
    """The text as it is: matplotlib would read what stands between dollars as a formula."""
    return text.replace('$', r'\$')
