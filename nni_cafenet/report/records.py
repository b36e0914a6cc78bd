"""All that the report of a pruning or search run shows, as records; ``out/report.json`` holds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..utils import as_table, format_time
from .document import Table

__all__ = ['ROLES', 'CandidateRecord', 'LayerCost', 'NetworkRecord', 'RunReport', 'networks_table', 'percent']

ROLES = ('full', 'baseline', 'pruned')
"""What a network stands for: the model before, something to compare with, a result."""

_FORMAT = 1
_NUMBERS = ('before', 'inherited', 'finetuned', 'predicted_ns', 'measured_ns')


@dataclass(frozen=True)
class LayerCost:
    """
    The MACs of one layer of a network.

    Parameters
    ----------
    layer
        Its name; ``''`` for what the model itself computes.
    macs
        Its MACs, for one sample.
    group
        Label of the channel group that it makes; None where it makes none that can change.
    """

    layer: str
    macs: int
    group: str | None = None


@dataclass(frozen=True)
class NetworkRecord:
    """
    One network: a row of the report's table.

    Parameters
    ----------
    name
        What it is called, such as ``'full'``, ``'uniform (baseline)'`` or ``'pruned to 50%'``; all names differ.
    role
        ``'full'`` (the model before; one network has it), ``'baseline'`` or ``'pruned'``. The report draws the widths and
        MACs of every pruned network beside those of the full one.
    widths
        ``{label: channels}``, the labels of `RunReport.full_widths`.
    macs, params
        MACs for one sample, and parameters.
    before
        The metric with the original weights, before any training of this run; None where it was not measured.
    inherited
        The metric with the weights that the network took over from the supernet.
    finetuned
        The metric after fine-tuning.
    predicted_ns, measured_ns
        Latency in ns, as predicted from the measured layers and as measured of the whole network.
    layers
        The MACs of each layer, in the order of the network; empty where they are not known.
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
    layers: tuple[LayerCost, ...] = ()


@dataclass(frozen=True)
class CandidateRecord:
    """
    Widths that were scored.

    Parameters
    ----------
    macs, params
        MACs for one sample, and parameters.
    score
        The score; NaN where scoring failed.
    chosen
        Whether one of the report's networks has these widths.
    """

    macs: int
    params: int
    score: float
    chosen: bool = False


@dataclass(frozen=True)
class RunReport:
    """
    All that a report shows; pictures, Markdown and HTML are made from it alone.

    Parameters
    ----------
    title
        What stands above, such as ``'resnet18 pruned to 50% of its MACs'``.
    model
        What the model is called.
    settings
        ``{name: value}`` as they shall be read, in their order: budget, epochs, seed, device, data, ...
    full_widths
        The full width of each channel group, ``{label: channels}``, in the order of the network.
    networks
        The networks side by side, in the order of the table.
    metric
        Name of the metric that the networks were measured by, such as ``'val_acc'``; None where there is none.
    metric_higher_is_better
        Which way it is better.
    candidates
        All widths that were scored.
    score
        Name of the score of `candidates`, such as ``'loss'``.
    score_higher_is_better
        Which way it is better.
    budgets
        ``{name: largest MACs of one sample}``, such as ``{'50%': 907036672}``.
    curves
        ``{stage: {metric: [(epoch, value), ...]}}``, such as ``{'supernet': {'loss': [(0, 2.3), (1, 1.9)]}}``.
    findings
        Sentences on what came out: where the uniform network is kept, and what there was to win.
    notes
        Sentences: what was fixed and why, what a reader should know.
    loading
        Lines of Python that load the slim model without this package; empty where nothing was saved.

    Raises
    ------
    ValueError
        If a role is unknown, not exactly one network is the full one, two have the same name, or a network's widths are
        not those of the groups.
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
            raise ValueError(f'networks must have names of their own, not {names}')
        unknown = sorted({network.role for network in self.networks} - set(ROLES))
        if unknown:
            raise ValueError(f'networks have the roles {unknown}; a role is one of {", ".join(ROLES)}')
        full = [network.name for network in self.networks if network.role == 'full']
        if len(full) != 1:
            raise ValueError(f"networks: exactly one has the role 'full', not {full}")
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
        """The model before."""
        return next(network for network in self.networks if network.role == 'full')

    @property
    def pruned(self) -> tuple[NetworkRecord, ...]:
        """The results."""
        return tuple(network for network in self.networks if network.role == 'pruned')

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON can hold it: NaN and infinity become the texts ``'nan'`` and ``'inf'``."""
        return {'format': _FORMAT, **_plain(asdict(self))}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RunReport:
        """
        Read what `to_json` wrote.

        Raises
        ------
        ValueError
            If the record is of another format, or lacks something.
        """
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
    values['layers'] = tuple(LayerCost(**layer) for layer in values['layers'])
    return NetworkRecord(**values)


def _candidate(record: Mapping[str, Any]) -> CandidateRecord:
    return CandidateRecord(**{**record, 'score': float(record['score'])})


def _plain(value: Any) -> Any:
    """Values as JSON has them; scalars of numpy and torch too."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if hasattr(value, 'item'):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


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
