"""Records of a pruning or search run, the content of ``report.json``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..utils import as_table, format_time
from .document import Table

__all__ = ['ROLES', 'CandidateRecord', 'LayerCost', 'NetworkRecord', 'RunReport', 'networks_table', 'percent']

ROLES = ('full', 'baseline', 'pruned')
"""Roles of networks: the original model, a baseline, a result."""

_FORMAT = 1
_NUMBERS = ('before', 'inherited', 'finetuned', 'predicted_ns', 'measured_ns')


@dataclass(frozen=True)
class LayerCost:
    """The MACs of one layer (``''``: the model itself); ``group`` is that of its outputs, None if they are fixed."""

    layer: str
    macs: int
    group: str | None = None


@dataclass(frozen=True)
class NetworkRecord:
    """One network, a row of the report's table.

    Attributes
    ----------
    name
        A unique name, such as ``'full'``, ``'uniform (baseline)'`` or ``'pruned to 50%'``.
    role
        ``'full'`` (exactly one network, the original model), ``'baseline'`` or ``'pruned'``. Figures compare every pruned
        network with the full one.
    macs, params
        MACs for one sample, and parameters.
    before, inherited, finetuned
        The metric with the original weights, with weights inherited from the supernet, and after fine-tuning; None if not
        measured.
    predicted_ns, measured_ns
        Latency in ns, predicted from measured layers and measured on the whole network; None if unknown.
    measured_range
        Quartiles of the measured latency, ns; None if unknown.
    layers
        The MACs of each layer, in network order; empty if unknown.
    """

    name: str
    role: str
    widths: Mapping[str, int]
    macs: int
    params: int
    before: float | None = None
    inherited: float | None = None
    finetuned: float | None = None
    predicted_ns: float | None = None
    measured_ns: float | None = None
    measured_range: tuple[float, float] | None = None
    layers: tuple[LayerCost, ...] = ()


@dataclass(frozen=True)
class CandidateRecord:
    """Scored widths; ``chosen`` if a network of the report has them. The score is NaN if scoring failed."""

    macs: int
    params: int
    score: float
    chosen: bool = False


@dataclass(frozen=True)
class RunReport:
    """The content of a report, from which Markdown, HTML and figures are rendered.

    Attributes
    ----------
    settings
        ``{name: value}`` in display form and order: budget, epochs, seed, device, data, ...
    full_widths
        The full width of each channel group, in network order.
    networks
        The networks, in table order.
    metric, metric_higher_is_better
        The networks' metric, such as ``'val_acc'``; None if there is none.
    candidates, score, score_higher_is_better
        All scored widths, and the name of their score.
    budgets
        ``{name: maximum MACs of one sample}``, such as ``{'50%': 907036672}``.
    curves
        ``{stage: {metric: [(epoch, value), ...]}}``, such as ``{'supernet': {'loss': [(0, 2.3), (1, 1.9)]}}``.
    findings, notes
        Sentences on the result (headroom, whether the uniform network was kept), and on fixed channels.
    loading
        Lines of Python that load the slim model without this package; empty if none was saved.

    Raises
    ------
    ValueError
        If a role is unknown, the number of full networks is not one, names repeat, or widths do not match the groups.
    """

    title: str
    model: str
    settings: Mapping[str, str]
    full_widths: Mapping[str, int]
    networks: tuple[NetworkRecord, ...]
    metric: str | None = None
    metric_higher_is_better: bool = True
    candidates: tuple[CandidateRecord, ...] = ()
    score: str = 'loss'
    score_higher_is_better: bool = False
    budgets: Mapping[str, int] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, tuple[tuple[float, float], ...]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    loading: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [network.name for network in self.networks]
        if len(set(names)) < len(names):
            raise ValueError(f'networks must have unique names, not {names}')
        unknown = sorted({network.role for network in self.networks} - set(ROLES))
        if unknown:
            raise ValueError(f'networks have the roles {unknown}; a role is one of {", ".join(ROLES)}')
        full = [network.name for network in self.networks if network.role == 'full']
        if len(full) != 1:
            raise ValueError(f"networks: exactly one must have the role 'full', not {full}")
        for network in self.networks:
            if set(network.widths) != set(self.full_widths):
                differing = sorted(set(network.widths) ^ set(self.full_widths))
                raise ValueError(
                    f'the widths of {network.name!r} must name the groups of full_widths; not in both: {differing}'
                )

    def __str__(self) -> str:
        table = networks_table(self)
        return '\n'.join([as_table(table.headers, table.rows), *self.findings])

    @property
    def full(self) -> NetworkRecord:
        """The original model."""
        return next(network for network in self.networks if network.role == 'full')

    @property
    def pruned(self) -> tuple[NetworkRecord, ...]:
        """The results."""
        return tuple(network for network in self.networks if network.role == 'pruned')

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serializable record; NaN and infinity become ``'nan'`` and ``'inf'``."""
        return {'format': _FORMAT, **_plain(asdict(self))}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RunReport:
        """Restore a report from `to_json`; a ValueError if the record has another format or is incomplete."""
        if record.get('format') != _FORMAT:
            raise ValueError(f'the report has the format {record.get("format")!r}, this version reads {_FORMAT}')
        values = {name: value for name, value in record.items() if name != 'format'}
        try:
            values['networks'] = tuple(_network(network) for network in values['networks'])
            values['candidates'] = tuple(_candidate(candidate) for candidate in values['candidates'])
            values['curves'] = {
                stage: {
                    metric: tuple((epoch, float(value)) for epoch, value in points)
                    for metric, points in metrics.items()
                }
                for stage, metrics in values['curves'].items()
            }
            values.update({name: tuple(values[name]) for name in ('notes', 'loading', 'findings')})
            return cls(**values)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f'the report is incomplete, or another version wrote it: {error!r}') from error


def _network(record: Mapping[str, Any]) -> NetworkRecord:
    values = dict(record)
    for name in _NUMBERS:
        values[name] = None if values[name] is None else float(values[name])
    values['measured_range'] = None if values['measured_range'] is None else tuple(values['measured_range'])
    values['layers'] = tuple(LayerCost(**layer) for layer in values['layers'])
    return NetworkRecord(**values)


def _candidate(record: Mapping[str, Any]) -> CandidateRecord:
    return CandidateRecord(**{**record, 'score': float(record['score'])})


def _plain(value: Any) -> Any:
    """Convert values, including numpy and torch scalars, to JSON types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if hasattr(value, 'item'):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def networks_table(report: RunReport) -> Table:
    """Return the table of networks, without empty columns."""
    metric = report.metric or 'metric'
    full = report.full.macs
    columns: list[tuple[str, Callable[[NetworkRecord], Any]]] = [
        ('network', lambda each: each.name),
        ('MACs', lambda each: f'{each.macs:,}'),
        ('of full', lambda each: percent(each.macs, full)),
        ('parameters', lambda each: f'{each.params:,}'),
        ('latency measured', _measured),
        ('latency predicted', lambda each: None if each.predicted_ns is None else format_time(each.predicted_ns)),
        (f'{metric} before', lambda each: each.before),
        (f'{metric} inherited', lambda each: each.inherited),
        (f'{metric} fine-tuned', lambda each: each.finetuned),
    ]
    cells = [(header, [cell(network) for network in report.networks]) for header, cell in columns]
    shown = [(header, column) for header, column in cells if any(value is not None for value in column)]
    return Table([header for header, _ in shown], list(zip(*(column for _, column in shown))))


def _measured(network: NetworkRecord) -> str | None:
    if network.measured_ns is None:
        return None
    time = format_time(network.measured_ns)
    if network.measured_range is None:
        return time
    low, high = map(format_time, network.measured_range)
    return f'{time} ({low} to {high})'


def percent(part: int, whole: int) -> str:
    """Format a share as a percentage with one decimal."""
    return f'{100 * part / whole:.1f} %' if whole else '-'
