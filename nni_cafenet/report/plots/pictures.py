"""Figures of a run's report with alternative texts and captions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...utils import format_count
from ..document import Picture
from ..records import NetworkRecord, RunReport
from .before_after import MOST_BARS, before_after_svg
from .curves import curves_svg
from .scores import scores_svg
from .widths import widths_svg

__all__ = ['costs_picture', 'curves_picture', 'scores_picture', 'widths_picture']

_MACS = 'MACs (multiply-accumulates) of one sample'


def widths_picture(report: RunReport, network: NetworkRecord) -> Picture:
    """Return the figure of all widths before and after."""
    full = report.full_widths
    title = f'Channels of each group: {network.name}'
    if len(full) <= MOST_BARS:
        svg = widths_svg(full, network.widths, title=title)
    else:
        rows = [(label, full[label], network.widths[label]) for label in full]
        svg = before_after_svg(rows, unit='channels', before=report.full.name, after=network.name)
    kept = {label: 100 * network.widths[label] / full[label] for label in full}
    least, most = min(kept, key=lambda label: kept[label]), max(kept, key=lambda label: kept[label])
    alt = (
        f'Bar chart of the channels of {_number(len(full), "group")}, {network.name} over {report.full.name}: '
        f'{kept[least]:.0f} % of the channels are left in {least}'
    )
    alt += '.' if least == most else f', {kept[most]:.0f} % in {most}.'
    caption = f'Channels of each group, in the order of the network: {network.name} over {report.full.name}.'
    return Picture(_file('widths', report, network), svg, alt, caption)


def costs_picture(report: RunReport, network: NetworkRecord) -> Picture:
    """Return the figure of all layers' MACs before and after; both networks must have them."""
    now = {layer.layer: layer.macs for layer in network.layers}
    rows = [(each.layer or '(the model itself)', each.macs, now.get(each.layer, 0)) for each in report.full.layers]
    svg = before_after_svg(rows, unit='MACs of one sample', before=report.full.name, after=network.name)
    name, before, after = max(rows, key=lambda row: row[1] - row[2])
    alt = (
        f'Bar chart of the MACs of {_number(len(rows), "layer")}, {network.name} over {report.full.name}. '
        f'{name} changes most: from {format_count(before)} to {format_count(after)}.'
    )
    caption = f'{_MACS} in each layer, in the order of the network: {network.name} over {report.full.name}.'
    return Picture(_file('macs', report, network), svg, alt, caption)


_MEANINGS = (
    ' The supernet is validated on held-out training data, at full width. Its curve may lie or fall below the accuracy of '
    'the network itself: it has other pictures, its weights serve all widths at once, and normalizations have the running '
    'statistics of many widths, which are estimated anew for each width that is scored. cafenet/loss: loss of the better '
    'channel set of a step, including distillation; cafenet/gap: excess loss of the other set; cafenet/fixed: share of '
    'groups in which the leftmost channels were better.'
)


def scores_picture(report: RunReport) -> Picture:
    """Return the figure of all candidates: score against MACs."""
    candidates, score = report.candidates, report.score
    higher = report.score_higher_is_better
    svg = scores_svg(candidates, score=score, higher_is_better=higher, budgets=report.budgets)
    alt = f'Scatter plot of {_number(len(candidates), "scored width")}: {score} against MACs.'
    finite = [each for each in candidates if math.isfinite(each.score)]
    if finite:
        macs, scores = [each.macs for each in finite], [each.score for each in finite]
        alt += f' MACs range from {format_count(min(macs))} to {format_count(max(macs))}, {score} {_span(scores)}.'
    for each in finite:
        if each.chosen:
            alt += f' Chosen: {format_count(each.macs)} MACs with {score} {each.score:.4g}.'
    caption = f'{score} on the supernet against {_MACS}, one point per scored width.'
    return Picture('scores.svg', svg, alt, caption[0].upper() + caption[1:])


def curves_picture(report: RunReport) -> Picture:
    """Return the figure of all training curves."""
    told = []
    for stage, metrics in report.curves.items():
        for metric, points in metrics.items():
            if points:
                told.append(f'{metric} of {stage} from {points[0][1]:.4g} to {points[-1][1]:.4g}')
    alt = f'Line charts of training by epoch: {"; ".join(told)}.'
    meanings = _MEANINGS if 'supernet' in report.curves else ''
    return Picture('curves.svg', curves_svg(report.curves), alt, f'Training, by epoch.{meanings}')


def _file(kind: str, report: RunReport, network: NetworkRecord) -> str:
    """Return the file name of a network's figure."""
    pruned = report.pruned
    return f'{kind}.svg' if len(pruned) == 1 else f'{kind}-{pruned.index(network) + 1}.svg'


def _number(count: int, thing: str) -> str:
    return f'{count:,} {thing}' + ('' if count == 1 else 's')


def _span(values: Sequence[float]) -> str:
    return f'from {min(values):.4g} to {max(values):.4g}'
