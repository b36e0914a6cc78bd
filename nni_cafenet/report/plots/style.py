"""Common style and deterministic output of matplotlib figures.

matplotlib is imported on first use, without pyplot's global state.
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
"""Colors of the full and the slim network, as in `widths_svg`."""
ACCENT = '#c2410c'
GREY, GRID = '#5f6c7b', '#e4e8ed'

_MANY_TIMES = 30  # ratio of largest to smallest value for a logarithmic axis
_STYLE: dict[str, Any] = {
    'svg.fonttype': 'none',  # keep text searchable and the file small
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
    """Use the style of the reports, plus `style`, instead of the user's matplotlib settings."""
    import matplotlib

    settings: Any = {**_STYLE, **(style or {})}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield


def rendered(figure: Any, kind: str = 'svg', dpi: int = 110) -> bytes:
    """Return a ``matplotlib.figure.Figure`` as an ``'svg'``, ``'png'`` or ``'pdf'`` file; call within `drawing`."""
    picture = io.BytesIO()
    undated = {} if kind == 'png' else {'Date' if kind == 'svg' else 'CreationDate': None}
    figure.savefig(picture, format=kind, dpi=dpi, metadata=undated)
    return picture.getvalue()


def scale(axis: Any, values: Sequence[float]) -> None:
    """Make an axis logarithmic if its finite values are positive and span a wide range."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    finite = [value for value in values if math.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) >= _MANY_TIMES * min(finite):
        set_scale = getattr(axis.axes, f'set_{axis.axis_name}scale')
        set_scale('log')
        axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
        axis.set_minor_formatter(NullFormatter())


def show_counts(axis: Any) -> None:
    """Format the ticks of an axis as counts, such as ``12.5M``."""
    from matplotlib.ticker import EngFormatter, FuncFormatter

    short = EngFormatter(sep='')  # as many digits as needed to distinguish ticks
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value).replace('k', 'K')))


def shortened(name: str, letters: int) -> str:
    """Elide the middle of a name longer than `letters`."""
    if len(name) <= letters:
        return name
    return f'{name[: letters // 2]}…{name[-(letters - letters // 2 - 1) :]}'


def plain(text: str) -> str:
    """Escape dollar signs, which start formulas in matplotlib."""
    return text.replace('$', r'\$')
