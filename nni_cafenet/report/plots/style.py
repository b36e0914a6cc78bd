"""What all pictures drawn by matplotlib have in common: their look, and the same bytes for the same content.

matplotlib is imported once a picture is drawn, and only its objects are used: no window, no state that others share.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = [
    'ACCENT',
    'BEFORE',
    'GREY',
    'GRID',
    'NOW',
    'drawing',
    'plain',
    'rendered',
    'scale',
    'shortened',
    'show_counts',
]

BEFORE, NOW = '#c9dcee', '#1d5c96'
"""Colors of the full network and of a slim one, as in `widths_plot`."""
ACCENT = '#c2410c'
GREY, GRID = '#5f6c7b', '#e4e8ed'

_MANY_TIMES = 30  # from so many times the smallest on, an axis is logarithmic
_STYLE: dict[str, Any] = {
    'svg.fonttype': 'none',  # text stays text: it can be searched, and the file is small
    'svg.hashsalt': 'nni-cafenet',
    'font.size': 9,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.edgecolor': '#9aa5b1',
    'axes.labelcolor': GREY,
    'axes.axisbelow': True,
    'xtick.color': GREY,
    'ytick.color': GREY,
    'grid.color': GRID,
    'legend.frameon': False,
}


@contextmanager
def drawing(style: Any = None) -> Iterator[None]:
    """
    Draw in the look of the reports, whatever the user's own settings of matplotlib are.

    Parameters
    ----------
    style
        Further settings, ``{'font.size': 8}``.
    """
    import matplotlib

    settings: Any = {**_STYLE, **(style or {})}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield


def rendered(figure: Any, kind: str = 'svg', dpi: int = 110) -> bytes:
    """
    Return the file of a figure; call it within `drawing`.

    Parameters
    ----------
    figure
        A ``matplotlib.figure.Figure``.
    kind
        ``'svg'``, ``'png'`` or ``'pdf'``.
    dpi
        Pixels an inch of a png.
    """
    picture = io.BytesIO()
    undated = {} if kind == 'png' else {'Date' if kind == 'svg' else 'CreationDate': None}
    figure.savefig(picture, format=kind, dpi=dpi, metadata=undated)
    return picture.getvalue()


def scale(axis: Any, values: Sequence[float]) -> None:
    """
    Make an axis logarithmic where its values are positive and lie far apart.

    Parameters
    ----------
    axis
        ``axes.xaxis`` or ``axes.yaxis``.
    values
        What is drawn; those that are not finite do not count.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    finite = [value for value in values if math.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) >= _MANY_TIMES * min(finite):
        set_scale = getattr(axis.axes, f'set_{axis.axis_name}scale')
        set_scale('log')
        axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
        axis.set_minor_formatter(NullFormatter())


def show_counts(axis: Any) -> None:
    """Write the ticks of an axis as counts, such as ``12.5M``."""
    from matplotlib.ticker import EngFormatter, FuncFormatter

    short = EngFormatter(sep='')  # as many digits as tell the ticks apart
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value).replace('k', 'K')))


def shortened(name: str, letters: int) -> str:
    """Return a name with its middle left out, where it has more letters."""
    if len(name) <= letters:
        return name
    return f'{name[: letters // 2]}…{name[-(letters - letters // 2 - 1) :]}'


def plain(text: str) -> str:
    """Return the text as it is: matplotlib would read what stands between dollars as a formula."""
    return text.replace('$', r'\$')
