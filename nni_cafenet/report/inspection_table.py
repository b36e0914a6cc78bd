"""What a width space is made of, as text for a terminal and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..utils.tables import as_table

if TYPE_CHECKING:
    from .inspection import GroupRecord, Inspection

__all__ = ['inspection_csv', 'inspection_text']

_HEADERS = ('group', 'width', 'bin', 'widths', 'MACs a channel', 'share of MACs', 'made by', 'read by')
_COLUMNS = ('label', 'width', 'bin', 'widths', 'macs', 'share', 'macs_a_channel', 'made_by', 'read_by', 'others')


def inspection_text(found: Inspection) -> str:
    """The groups, what is fixed, and the totals; lists of layers are cut after the first."""
    share = found.smallest_macs / found.macs if found.macs else 1.0
    inputs = ' and '.join(map(str, found.inputs))
    lines = [
        f'{found.name}, input {inputs}: {len(found.groups)} channel groups',
        '',
        as_table(_HEADERS, [_row(group) for group in found.groups], align='lrrlrrll'),
        '',
        'MACs are multiply-accumulates of one sample. The share of a group is that of all layers that make or read it:',
        'a layer between two groups counts in both.',
        '',
        f'Fixed output channels:{"" if found.fixed else " none"}',
    ]
    if found.fixed:
        rows = [[record.layer, record.width, record.reason] for record in found.fixed]
        lines += ['', as_table(['layer', 'channels', 'reason'], rows, align='lrl')]
    lines += [
        '',
        as_table(
            ['network', 'MACs', 'parameters'],
            [
                ['full', f'{found.macs:,}', f'{found.params:,}'],
                ['smallest', f'{found.smallest_macs:,}', f'{found.smallest_params:,}'],
            ],
            align='lrr',
        ),
        '',
        f'The smallest network has {100 * share:.2f} % of the MACs. The space holds 10^{found.log10_widths:.1f} widths '
        f'(10^{found.log10_widths_without_bins:.1f} without bins).',
    ]
    return '\n'.join(lines)


def inspection_csv(found: Inspection) -> str:
    """The groups, one a line under a line of names; what a cell lists stands apart by spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(_COLUMNS)
    for group in found.groups:
        cells = [getattr(group, column) for column in _COLUMNS]
        writer.writerow([' '.join(map(str, cell)) if isinstance(cell, tuple) else cell for cell in cells])
    return text.getvalue()


def _row(group: GroupRecord) -> list[object]:
    return [
        group.label,
        group.width,
        group.bin,
        _compact(group.widths, group.bin),
        f'{group.macs_a_channel:,}',
        f'{100 * group.share:.1f} %',
        _short(group.made_by),
        _short(group.read_by),
    ]


def _compact(widths: Sequence[int], step: int) -> str:
    """First, step, last, and how many: ``7, 8 to 64 by 8 (9)``."""
    regular = [width for width in widths if width % step == 0]
    if len(regular) < 4:
        parts = [str(width) for width in widths]
    else:
        run = f'{regular[0]} to {regular[-1]} by {step}'
        before = [str(width) for width in widths if width < regular[0]]
        parts = [*before, run, *(str(width) for width in widths if width > regular[-1])]
    return f'{", ".join(parts)} ({len(widths)})'


def _short(names: Sequence[str]) -> str:
    if not names:
        return '-'
    return names[0] + (f' and {len(names) - 1} more' if len(names) > 1 else '')
