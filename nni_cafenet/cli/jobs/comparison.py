"""The row of a finished search: searched, uniform and full network by one recipe, beside what is published."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ...errors import FolderError
from ...options import TrainingRecipe
from ...report import RunReport, read_report
from ...stages import Finalist
from ...utils import as_table, format_count, read_record
from ..config import Configuration
from ..recipes import Recipe
from .full_network import FULL
from .job_folder import JobFolder
from .saved_network import SavedNetwork
from .train_slim import RECORD

__all__ = ['Compared', 'compared_networks', 'comparison_table', 'other_networks']

_REMEDY = 'delete it to train that network again'
_Key = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Compared:
    """A network of a run: the score that the supernet gave it (NaN if none), and its metric by seed of the training."""

    name: str
    widths: Mapping[str, int]
    macs: int
    params: int
    score: float = math.nan
    values: dict[int, float] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The mean of its metric, with the standard deviation if there are several seeds; ``'-'`` if it is not trained."""
        found = [each for each in self.values.values() if math.isfinite(each)]
        if not found:
            return '-'
        spread = f' ± {_number(stdev(found))}' if len(found) > 1 else ''
        return f'{_number(mean(found))}{spread}'


def comparison_table(folder: str | Path) -> str:
    """Return the table of a finished search, and the published figures of its recipe."""
    job = JobFolder(folder)
    asked = job.load().configuration
    report = _report(job)
    networks = compared_networks(job)
    rows = [
        [
            each.name,
            format_count(each.macs),
            format_count(each.params),
            '-' if math.isnan(each.score) else f'{each.score:.4g}',
            each.shown,
            ' '.join(map(str, sorted(each.values))) or '-',
        ]
        for each in networks
    ]
    metric = report.metric or 'metric'
    lines = [as_table(['network', 'MACs', 'params', f'supernet {report.score}', metric, 'seeds'], rows, align='lrrrrl')]
    if not any(each.name == FULL and each.values for each in networks):
        lines.append(f'The full network is not trained: nni-cafenet train-slim {folder} --which full')
    return '\n'.join([*lines, *_published(asked)])


def compared_networks(job: JobFolder) -> list[Compared]:
    """Return the full network, the uniform one and the searched ones of each budget, with all of their trainings."""
    asked = job.load().configuration
    report = _report(job)
    values = _trainings(job, asked)
    full = report.networks[0]
    found = [Compared(FULL, full.widths, full.macs, full.params, math.nan, values[_key(full.widths)])]
    for finalist in _finalists(job):
        scored = finalist.scored
        title = finalist.title.partition(' = ')[0].replace('finalist', 'searched').replace(' (baseline)', '')
        found.append(
            Compared(title, scored.widths, scored.macs, scored.params, scored.score, values[_key(scored.widths)])
        )
    return found


def other_networks(job: JobFolder, name: str) -> list[SavedNetwork]:
    """Return the full, the uniform or the searched networks of a search, for `run_slim_training` from fresh weights."""
    return [
        SavedNetwork(
            each.name.replace(', ', '@').replace(' ', '-'), job.path, dict(each.widths), each.macs, each.params
        )
        for each in compared_networks(job)
        if each.name.replace(',', ' ').split()[0] == name
    ]


def _report(job: JobFolder) -> RunReport:
    if not (job.path / 'report.json').is_file():
        raise FolderError(f'{str(job.path)!r}: the run has not ended; run its command again to resume it')
    return read_report(job.path)


def _finalists(job: JobFolder) -> Iterator[Finalist]:
    """Yield the trained finalists, the uniform ones first."""
    paths = sorted(job.path.glob('finalists/*/result.json'))
    found = [Finalist.from_json(read_record(path, remedy=_REMEDY)) for path in paths]
    yield from sorted(found, key=lambda each: (not each.is_baseline, each.name))


def _trainings(job: JobFolder, asked: Configuration) -> defaultdict[_Key, dict[int, float]]:
    """Return the metrics of networks trained from fresh weights by the recipe of the run, by widths and seed."""
    found: defaultdict[_Key, dict[int, float]] = defaultdict(dict)
    for path in [*job.path.glob('finalists/*/result.json'), *job.path.glob(f'trained/{FULL}/result.json')]:
        _add(found, path, asked['seed'])
    for path in sorted(job.path.glob('trained/**/result.json')):
        settings = path.parent / RECORD
        if settings.is_file():
            given = read_record(settings, remedy=_REMEDY)
            if given['weights'] == 'fresh' and _same_recipe(given, asked):
                _add(found, path, given['seed'])
    return found


def _add(found: defaultdict[_Key, dict[int, float]], path: Path, seed: int) -> None:
    record = read_record(path, remedy=_REMEDY)
    if record['metric'] is not None:
        found[_key(record['widths'])][seed] = record['metric']


def _same_recipe(given: Mapping[str, Any], asked: Configuration) -> bool:
    names = ['finetune_epochs', *(each.name for each in TrainingRecipe.options() if each.name != 'loggers')]
    return all(given.get(f'training.{name}') == asked[f'training.{name}'] for name in names)


def _published(asked: Configuration) -> list[str]:
    if asked['recipe'] is None:
        return []
    recipe = Recipe.load(asked['recipe'])
    if not recipe.published:
        return [f'Published for {recipe.name}: nothing in the sources that we have read.']
    return [f'Published for {recipe.name} ({recipe.metric}):', *(f'  {each}' for each in recipe.published)]


def _key(widths: Mapping[str, int]) -> _Key:
    return tuple(sorted(widths.items()))


def _number(value: float) -> str:
    return f'{value:.4f}'
