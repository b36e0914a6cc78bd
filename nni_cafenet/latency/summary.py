"""A latency table in words."""

from __future__ import annotations

from typing import Any

from ..utils import as_table, format_time
from .build import Share

__all__ = ['described']


def described(table: Any) -> str:
    """Describe a `LatencyTable`: its operators, calibration and error."""
    full, smallest = (table.latency(table.space[key]) for key in ('full', 'smallest'))
    known = sum((share.time or 0) * share.scale for share in table.shares)
    rows = [[share.operator, share.calls, *_times(share, max(known, 1))] for share in table.shares]
    scale = table.calibration.scale / (1 << 16)
    lines = [
        f'Latency on {table.environment}; batch {table.batch}, input {table.space["input"]}',
        '',
        as_table(['operator', 'calls', 'alone', 'in a network', 'share'], rows, align='lrrrr'),
        '',
        f'A network takes {scale:.2f} x its operators + {format_time(table.calibration.offset)}.',
        f'Predicted: {format_time(full)} for the full network, {format_time(smallest)} for the smallest.',
        f'Error of the prediction: {table.error}.',
    ]
    if any(share.time is None for share in table.shares):
        lines.insert(4, 'Operators without a time do not run at all widths, or not alone; the offset covers them.')
    return '\n'.join(lines)


def _times(share: Share, known: float) -> list[str | None]:
    if share.time is None:
        return [None, None, None]
    scaled = share.time * share.scale
    return [format_time(share.time), format_time(round(scaled)), f'{100 * scaled / known:.1f} %']
