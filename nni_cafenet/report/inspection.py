"""Records of a width space, with text and CSV output."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..utils import as_table

__all__ = [
    'ChoiceRecord',
    'FixedRecord',
    'GroupRecord',
    'Inspection',
    'LayerRecord',
    'inspection_csv',
    'inspection_text',
]


@dataclass(frozen=True)
class GroupRecord:
    """One channel group.

    Parameters
    ----------
    label
        Its label.
    width
        Its full width, in channels.
    bin
        Channels per bin.
    widths
        Its possible widths, ascending.
    macs
        MACs for one sample of its producers and consumers in the full network.
    share
        `macs` as a fraction of all MACs. A layer between two groups counts in both.
    macs_per_channel
        MACs for one sample of one channel in the full network: its filter in each producer and its slice of each
        consumer.
    producers, consumers, others
        Layers that output these channels, layers that take them as input, and other layers of the group
        (normalization).
    ordered
        Whether a convolution runs along the channels.
    """

    label: str
    width: int
    bin: int
    widths: tuple[int, ...]
    macs: int
    share: float
    macs_per_channel: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    others: tuple[str, ...]
    ordered: bool = False


@dataclass(frozen=True)
class ChoiceRecord:
    """A choice of an NNI space: its label, its values, and the channel groups that it governs."""

    label: str
    values: tuple[float, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True)
class FixedRecord:
    """Fixed output channels of a layer: the layer, their number, and the reason."""

    layer: str
    width: int
    reason: str


@dataclass(frozen=True)
class LayerRecord:
    """The MACs of one layer.

    Parameters
    ----------
    layer
        Its name; ``''`` for operations of the model itself.
    macs
        Its MACs for one sample of the full network.
    share
        `macs` as a fraction of all MACs.
    group
        Label of the (first) channel group that it produces; None if its outputs are fixed or it produces none.
    """

    layer: str
    macs: int
    share: float
    group: str | None


@dataclass(frozen=True)
class Inspection:
    """Summary of a width space. ``print`` shows tables; the records suit ``pandas.DataFrame``.

    Parameters
    ----------
    name
        Name of the model.
    inputs
        Shapes of the tensors of the example input.
    groups
        The channel groups, in network order.
    fixed
        The fixed output channels.
    layers
        Measured MACs of each layer of the full network; their sum is `macs`.
    macs, params
        MACs for one sample (convolutions, linear layers and matrix products) and parameters of the full network.
    smallest_macs, smallest_params
        The same with the smallest width of every group.
    log10_widths, log10_widths_without_bins
        Base-10 logarithm of the number of networks in the space, with and without bins.
    choices
        The choices of a space that was made of an NNI space; else empty.
    """

    name: str
    inputs: tuple[tuple[int, ...], ...]
    groups: tuple[GroupRecord, ...]
    fixed: tuple[FixedRecord, ...]
    layers: tuple[LayerRecord, ...]
    macs: int
    params: int
    smallest_macs: int
    smallest_params: int
    log10_widths: float
    log10_widths_without_bins: float
    choices: tuple[ChoiceRecord, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, the content of the JSON file of ``nni-cafenet inspect``."""
        return asdict(self)

    def to_csv(self) -> str:
        """Return the groups as CSV, one per line; lists within a cell are separated by spaces."""
        return inspection_csv(self)

    def __str__(self) -> str:
        return inspection_text(self)


_HEADERS = ('group', 'width', 'bin', 'widths', 'MACs per channel', 'share of MACs', 'producers', 'consumers')
_COLUMNS = ('label', 'width', 'bin', 'widths', 'macs', 'share', 'macs_per_channel', 'producers', 'consumers', 'others')


def inspection_text(found: Inspection) -> str:
    """Return the groups, fixed channels and totals as text; lists of layers are cut after the first."""
    share = found.smallest_macs / found.macs if found.macs else 1.0
    inputs = ' and '.join(map(str, found.inputs))
    lines = [
        f'{found.name}, input {inputs}: {len(found.groups)} channel groups',
        '',
        as_table(_HEADERS, [_row(group) for group in found.groups], align='lrrlrrll'),
        '',
        'MACs are multiply-accumulates of one sample. The share of a group covers its producers and consumers;',
        'a layer between two groups counts in both.',
        '',
        *_on_order(found),
        *_on_choices(found),
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
        f'The smallest network has {100 * share:.2f} % of the MACs. The space contains 10^{found.log10_widths:.1f} widths '
        f'(10^{found.log10_widths_without_bins:.1f} without bins).',
    ]
    return '\n'.join(lines)


def _on_order(found: Inspection) -> list[str]:
    """Say what is exact where an operator runs along channels."""
    ordered = [group.label for group in found.groups if group.ordered]
    if not ordered:
        return []
    return [
        f'A convolution runs along the channels of {", ".join(ordered)} and keeps its kernel: the channels of a width that',
        'are left are neighbors, in the supernet and in the slim model alike. The two compute the same; the full network',
        'with zeros in place of the other channels would not.',
        '',
    ]


def _on_choices(found: Inspection) -> list[str]:
    """Return a table of an NNI space's choices."""
    if not found.choices:
        return []
    rows = [[each.label, ', '.join(map(str, each.values)), ', '.join(each.groups) or '-'] for each in found.choices]
    return [
        'The widths are computed from choices:',
        '',
        as_table(['choice', 'values', 'groups'], rows, align='lll'),
        '',
    ]


def inspection_csv(found: Inspection) -> str:
    """Return the groups as CSV with a header; lists within a cell are separated by spaces."""
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
        f'{group.macs_per_channel:,}',
        f'{100 * group.share:.1f} %',
        _short(group.producers),
        _short(group.consumers),
    ]


def _compact(widths: Sequence[int], step: int) -> str:
    """Return a range and its length: ``7, 8 to 64 by 8 (9)``."""
    regular = [width for width in widths if width % step == 0]
    if len(regular) < 4 or regular != [*range(regular[0], regular[-1] + 1, step)]:
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
