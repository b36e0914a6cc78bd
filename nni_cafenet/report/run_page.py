"""The sections of a run's report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .document import Block, Code, Heading, Picture, Points, Table, Text
from .plots import costs_picture, curves_picture, on_front, scores_picture, widths_picture
from .records import RunReport, networks_table, percent

__all__ = ['run_page']


def run_page(report: RunReport) -> list[Block]:
    """Return the blocks of a report, without empty sections."""
    sections = (_summary, _loading, _widths, _costs, _search, _training, _settings, _notes)
    return [block for section in sections for block in section(report)]


def _summary(report: RunReport) -> list[Block]:
    full = report.full
    sentences = [f'{report.model}: {full.macs:,} MACs and {full.params:,} parameters.']
    for network in report.pruned:
        sentences.append(
            f'{_capital(network.name)}: {network.macs:,} MACs ({percent(network.macs, full.macs)}) and '
            f'{network.params:,} parameters ({percent(network.params, full.params)}).'
        )
    legend = ['MACs are multiply-accumulates of one sample (convolution, linear and matrix products).']
    networks = report.networks
    if any(network.measured_ns is not None for network in networks):
        legend.append(
            'Measured latency is that of the whole network: the median of its runs, and the middle half of them.'
        )
    if any(network.predicted_ns is not None for network in networks):
        legend.append('Predicted latency is computed from measured layers.')
    meanings = {
        'before': 'before: with the original weights',
        'inherited': 'inherited: with the weights of the supernet, without further training',
        'finetuned': 'fine-tuned: after fine-tuning',
    }
    shown = [text for name, text in meanings.items() if any(getattr(network, name) is not None for network in networks)]
    if shown:
        better = 'higher' if report.metric_higher_is_better else 'lower'
        legend.append(f'Columns of {report.metric or "the metric"} ({better} is better): {"; ".join(shown)}.')
    return [Text(' '.join(sentences)), networks_table(report), Text(' '.join(legend))]


def _loading(report: RunReport) -> list[Block]:
    if not report.loading:
        return []
    text = (
        'Run this in the folder of this report; it does not need nni-cafenet. load_slim.py in this folder needs only torch '
        'and your model, and may be copied next to your code.'
    )
    return [Heading('Load the slim model'), Text(text), Code(report.loading)]


def _widths(report: RunReport) -> list[Block]:
    if not report.full_widths or not report.pruned:
        return []
    pictures: list[Block] = [widths_picture(report, network) for network in report.pruned]
    others = [network for network in report.networks if network.role != 'full']
    headers = ['group', report.full.name, *(network.name for network in others)]
    rows = [
        [label, width, *(network.widths[label] for network in others)] for label, width in report.full_widths.items()
    ]
    return [Heading('Widths'), *pictures, Table(headers, rows, folded='Channels of each group, as a table')]


def _costs(report: RunReport) -> list[Block]:
    known = [network for network in report.networks if network.layers]
    if report.full not in known or len(known) < 2:
        return []
    pictures: list[Block] = [costs_picture(report, network) for network in known if network.role == 'pruned']
    macs = [{layer.layer: layer.macs for layer in network.layers} for network in known]
    headers = ['layer', 'group', *(network.name for network in known)]
    rows = [
        [layer.layer or '(the model itself)', layer.group, *(f'{each.get(layer.layer, 0):,}' for each in macs)]
        for layer in report.full.layers
    ]
    table = Table(headers, rows, folded='MACs of each layer and the channel group that it produces, as a table')
    return [Heading('MACs of each layer'), *pictures, table]


def _search(report: RunReport) -> list[Block]:
    if not report.candidates:
        return []
    front = len(on_front(report.candidates, report.score_higher_is_better))
    better = 'higher' if report.score_higher_is_better else 'lower'
    number = len(report.candidates)
    text = (
        f'{number:,} {"width was" if number == 1 else "widths were"} scored by {report.score} ({better} is better). '
        f'{front:,} of them {"is" if front == 1 else "are"} on the Pareto front: none of the others has a better score '
        'at no more MACs.'
    )
    failed = sum(not math.isfinite(each.score) for each in report.candidates)
    if failed:
        text += f' {failed:,} {"has" if failed == 1 else "have"} no score.'
    if report.budgets:
        budgets = '; '.join(f'{name}: at most {macs:,} MACs' for name, macs in report.budgets.items())
        text += f' Budget {budgets}.'
    said: list[Block] = [Text(' '.join(report.findings))] if report.findings else []
    return [Heading('Search'), Text(text), *said, scores_picture(report)]


def _training(report: RunReport) -> list[Block]:
    if not any(points for stage in report.curves.values() for points in stage.values()):
        return []
    return [Heading('Training'), curves_picture(report)]


def _settings(report: RunReport) -> list[Block]:
    if not report.settings:
        return []
    return [Heading('Settings'), Table(['setting', 'value'], list(report.settings.items()))]


def _notes(report: RunReport) -> list[Block]:
    return [Heading('Notes'), Points(report.notes)] if report.notes else []


def pictures_of(blocks: Sequence[Block]) -> list[Picture]:
    """Return the pictures of a page."""
    return [block for block in blocks if isinstance(block, Picture)]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
