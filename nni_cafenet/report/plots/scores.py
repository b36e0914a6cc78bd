"""A scatter plot of scored widths with the Pareto front, chosen widths and budgets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...search import pareto_front
from .style import ACCENT, GREY, NOW, drawing, plain, rendered, scale, shortened, show_counts

if TYPE_CHECKING:
    from ..records import CandidateRecord

__all__ = ['on_front', 'scores_svg']

_SIZE = (8.5, 4.8)  # inches
_POINT = '#8fb3d4'
_MANY, _MARKED = 5000, 60  # points


def on_front(candidates: Sequence[CandidateRecord], higher_is_better: bool) -> list[CandidateRecord]:
    """Return the Pareto front of MACs and score, by ascending MACs."""
    sign = 1 if higher_is_better else -1
    front = pareto_front([each.macs for each in candidates], [sign * each.score for each in candidates])
    return sorted((each for each, best in zip(candidates, front) if best), key=lambda each: each.macs)


def scores_svg(
    candidates: Sequence[CandidateRecord],
    *,
    score: str,
    higher_is_better: bool,
    budgets: Mapping[str, int] | None = None,
) -> str:
    """Draw the score of candidates against their MACs as SVG, with the MACs of budgets as vertical lines.

    Axes are logarithmic if their values span a wide range. Non-finite scores are marked at the lower edge. Raises
    ValueError without candidates.
    """
    if not candidates:
        raise ValueError('candidates is empty: nothing to draw')
    from matplotlib.figure import Figure

    budgets = budgets or {}
    with drawing():
        figure = Figure(figsize=_SIZE, layout='constrained')
        axes = figure.add_subplot()
        _scales(axes, candidates, budgets)
        scored = [each for each in candidates if math.isfinite(each.score)]
        failed = [each for each in candidates if not math.isfinite(each.score)]
        chosen = [each for each in scored if each.chosen]
        if scored:
            _points(axes, scored)
            _front(axes, on_front(scored, higher_is_better))
        else:
            axes.set_yticks([])
        if failed:
            _failed(axes, failed)
        if chosen:
            axes.scatter(
                *_places(chosen), s=150, marker='*', color=ACCENT, edgecolors='white', zorder=4, label='chosen'
            )
        for number, (name, macs) in enumerate(budgets.items()):
            axes.axvline(macs, color=GREY, linestyle=(0, (5, 4)), linewidth=1, zorder=1)
            _upright(axes, f'budget {shortened(name, 24)} ', macs, left=number % 2 == 0)
        axes.set_xlabel('MACs of one sample')
        axes.set_ylabel(plain(f'{shortened(score, 30)} ({"higher" if higher_is_better else "lower"} is better)'))
        axes.grid()
        figure.legend(loc='outside upper left', ncols=4, columnspacing=1.4)
        return rendered(figure).decode('utf-8')


def _points(axes: Any, scored: Sequence[CandidateRecord]) -> None:
    # Rasterize many points to keep the file small.
    many = len(scored) > _MANY
    label = f'scored widths ({len(scored):,})'
    axes.scatter(*_places(scored), s=14, color=_POINT, alpha=0.75, linewidths=0, label=label, rasterized=many)


def _front(axes: Any, front: Sequence[CandidateRecord]) -> None:
    marker = 'o' if len(front) <= _MARKED else ''
    # Steps: between two points of the front, nothing better is known.
    axes.plot(*_places(front), color=NOW, drawstyle='steps-post', marker=marker, markersize=4, label='Pareto front')


def _failed(axes: Any, failed: Sequence[CandidateRecord]) -> None:
    """Draw crosses at the lower edge for candidates without a score."""
    style = {'s': 22, 'marker': 'x', 'color': '#8a94a0', 'linewidths': 1}
    label = f'without a score ({len(failed):,})'
    places = [each.macs for each in failed]
    axes.scatter(places, [0.02] * len(places), transform=axes.get_xaxis_transform(), label=label, **style)


def _places(candidates: Sequence[CandidateRecord]) -> tuple[list[int], list[float]]:
    return [each.macs for each in candidates], [each.score for each in candidates]


def _scales(axes: Any, candidates: Sequence[CandidateRecord], budgets: Mapping[str, int]) -> None:
    macs = [*(each.macs for each in candidates), *budgets.values()]
    scale(axes.xaxis, macs)
    axes.update_datalim([(each, 0) for each in macs], updatey=False)  # include failed candidates and budgets
    scale(axes.yaxis, [each.score for each in candidates])
    show_counts(axes.xaxis)


def _upright(axes: Any, text: str, place: float, *, left: bool) -> None:
    """Write text along the upper end of a vertical line."""
    axes.annotate(
        plain(text),
        (place, 1),
        xycoords=('data', 'axes fraction'),
        xytext=(-2 if left else 3, 0),
        textcoords='offset points',
        rotation=90,
        ha='right' if left else 'left',
        va='top',
        color=GREY,
        fontsize=8,
        zorder=5,
        bbox={'facecolor': 'white', 'edgecolor': 'none', 'alpha': 0.8, 'pad': 0.8},
    )
