"""The report of a finished job."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ...analysis import layer_macs
from ...graph import ExampleInput
from ...report import CandidateRecord, LayerCost, NetworkRecord, RunReport, loading_lines
from ...search import History, better_when_higher
from ...stages import RunFolder, read_curves
from ...utils import read_record
from ..config import Configuration
from ..loading import torchvision_name
from .prepare import Prepared

__all__ = ['Found', 'layers_of', 'named_report', 'report_of']

_SETTINGS = (
    'model.weights',
    'data.source',
    'budget',
    'training.epochs',
    'training.finetune_epochs',
    'training.importance',
    'training.distill',
    'search.method',
    'search.candidates',
    'search.halving',
    'seed',
    'device',
    'precision',
    'devices',
    'nodes',
)


@dataclass(frozen=True)
class Found:
    """The results of a job.

    ``verb`` is for the title: ``'pruned to'``, ``'searched within'``. Of the networks, the full one comes first.
    ``folders`` are those of the slim networks, one per budget.
    """

    verb: str
    networks: tuple[NetworkRecord, ...]
    folders: tuple[Path, ...]
    history: History
    metric: str
    findings: tuple[str, ...] = ()


def report_of(prepared: Prepared, found: Found) -> RunReport:
    """Return the report of a job."""
    asked = prepared.configuration
    chosen = {tuple(each.widths.items()) for each in found.networks}
    name = asked['model.name'].rpartition(':')[2]
    return RunReport(
        title=f'{name} {found.verb} {_shown(asked["budget"])}',
        model=name,
        settings=_settings(asked),
        full_widths=found.networks[0].widths,
        networks=found.networks,
        metric=found.metric,
        metric_higher_is_better=better_when_higher(found.metric),
        candidates=tuple(
            CandidateRecord(each.macs, each.params, each.score, tuple(each.widths.items()) in chosen)
            for each in found.history
        ),
        score=asked['search.score'],
        score_higher_is_better=found.history.higher_is_better,
        budgets=_budgets(asked),
        curves=_curves(Path(asked['output'])),
        findings=found.findings,
        loading=_loading(prepared, found.folders[0]),
    )


def named_report(prepared: Prepared, report: RunReport, folder: Path) -> RunReport:
    """Return the report of a pruning job with names from its configuration; ``folder`` is its first network's."""
    asked = prepared.configuration
    name = asked['model.name'].rpartition(':')[2]
    return dataclasses.replace(
        report,
        title=f'{name} pruned to {_shown(asked["budget"])}',
        model=name,
        settings=_settings(asked),
        loading=_loading(prepared, folder),
    )


def layers_of(model: nn.Module, shape: Sequence[int]) -> tuple[LayerCost, ...]:
    """Return the MACs of each layer of a network."""
    model = model.cpu()
    layers = layer_macs(model, ExampleInput.of(tuple(shape), model))
    return tuple(LayerCost(layer, macs) for layer, macs in layers.items())


def _settings(asked: Configuration) -> dict[str, str]:
    """The settings of a job; what was left open as the run has settled it."""
    record = _record(asked)
    settled = {
        'search': record['search'].get('search'),
        'search.statistics_batches': record['scores'].get('statistics_batches'),
        'search.finalists': record['finalists'].get('finalists'),
    }
    return {
        **{path: _shown(asked[path]) for path in _SETTINGS},
        **{path: _shown(value) for path, value in settled.items() if value is not None},
    }


def _record(asked: Configuration) -> dict[str, Any]:
    return read_record(Path(asked['output']) / 'run.json', remedy='give another folder to start again')


def _budgets(asked: Configuration) -> dict[str, int]:
    """The limits on MACs, by name of budget."""
    limits = _record(asked)['search']['budget']
    several = isinstance(limits, list)
    names = asked['budget'] if several else [asked['budget']]
    return {
        _shown(name): limit['macs'] for name, limit in zip(names, limits if several else [limits]) if 'macs' in limit
    }


def _curves(output: Path) -> dict[str, Any]:
    folder = RunFolder(output)
    stages = {'supernet': folder.curves}
    if (output / 'finalists').is_dir():
        stages.update(
            {f'finalist {path.name}': path / 'curves.jsonl' for path in sorted((output / 'finalists').iterdir())}
        )
    curves = {stage: read_curves(path) for stage, path in stages.items()}
    return {stage: {name: tuple(points) for name, points in each.items()} for stage, each in curves.items() if each}


def _loading(prepared: Prepared, folder: Path) -> tuple[str, ...]:
    spec, output = prepared.configuration['model.name'], Path(prepared.configuration['output'])
    place = '.' if folder == output else folder.name
    known = torchvision_name(spec)
    module, _, name = ('torchvision.models', ':', known) if known else spec.rpartition(':')
    if not module:
        return loading_lines(spec, folder=place)
    home = Path(module).stem if module.endswith('.py') else module
    arguments = ', '.join(f'{key}={value!r}' for key, value in prepared.arguments.items())
    return loading_lines(
        spec, imports=f'from {home} import {name.split(".")[0]}', factory=f'{name}({arguments})', folder=place
    )


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ', '.join(f'{key}={part}' for key, part in value.items())
    return ', '.join(map(_shown, value)) if isinstance(value, (list, tuple)) else str(value)
