"""The networks of a run side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..utils.units import format_time
from .document import Table

if TYPE_CHECKING:
    from .records import NetworkRecord, RunReport

__all__ = ['networks_table', 'percent']


def networks_table(report: RunReport) -> Table:
    """Return the networks side by side; columns that no network has are left out."""
    metric = report.metric or 'metric'
    full = report.full.macs
    columns: list[tuple[str, Callable[[NetworkRecord], Any]]] = [
        ('network', lambda each: each.name),
        ('MACs', lambda each: f'{each.macs:,}'),
        ('of full', lambda each: percent(each.macs, full)),
        ('parameters', lambda each: f'{each.params:,}'),
        ('latency measured', lambda each: None if each.measured_ns is None else format_time(each.measured_ns)),
        ('latency predicted', lambda each: None if each.predicted_ns is None else format_time(each.predicted_ns)),
        (f'{metric} before', lambda each: each.before),
        (f'{metric} inherited', lambda each: each.inherited),
        (f'{metric} fine-tuned', lambda each: each.finetuned),
    ]
    cells = [(header, [cell(network) for network in report.networks]) for header, cell in columns]
    shown = [(header, column) for header, column in cells if any(value is not None for value in column)]
    return Table([header for header, _ in shown], list(zip(*(column for _, column in shown))))


def percent(part: int, whole: int) -> str:
    """Return a share in percent, with one decimal place."""
    return f'{100 * part / whole:.1f} %' if whole else '-'
