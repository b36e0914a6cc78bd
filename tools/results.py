"""The page of results: ``python tools/results.py`` writes docs/results.md from the recipes and docs/results.json.

``python tools/results.py --add RUN`` first adds a finished run of `nni-cafenet search --recipe NAME`. A run that departs
from its recipe is refused; with ``--miniature``, for data of `python -m nni_cafenet.testing`, it gets a table of its own,
with its departures. ``--check`` writes nothing, and exits with status 1 where the page is out of date.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from nni_cafenet.cli.config import Configuration, Given, set_fields
from nni_cafenet.cli.recipes import Recipe, all_recipes
from nni_cafenet.utils import format_count

if TYPE_CHECKING:
    from nni_cafenet.cli.jobs import JobFolder

DOCS = Path(__file__).resolve().parents[1] / 'docs'
PAGE, RESULTS = DOCS / 'results.md', DOCS / 'results.json'
RATE = 1e13
"""MACs a second at which hours are given: a figure to scale from, not a measurement."""

_OWN = ('recipe', 'data.source', 'output', 'seed')
"""Fields of every run, which are no departure from its recipe."""

_INTRO = """\
# Results

Written by `python tools/results.py` from the recipes and [results.json](results.json); nothing is typed. For every
[recipe](recipes.md#named-recipes): what the paper and its peers report, the command, its estimated cost, our own figures.
**A cell of ours without a figure is empty because nobody has run that recipe to its end yet**: it hides nothing.
Published figures are those of their papers; re-runs by others often land below them, and recipes differ, so they are a
mark to aim at, not a baseline. What counts is the comparison of our own rows, which have one recipe: searched, uniform
and full network.

Costs are estimated from MACs: a training step is three forwards, a step of the supernet one more for each further channel
set, random widths have a third of the full network's MACs. Hours are those at 10^13 MACs a second, a figure to scale from:
`nni-cafenet search --recipe NAME --data ... --dry-run` times first steps on your device. Runs on
[miniature data](#miniature-data) in the real formats have tables of their own at the end.

To fill a row: run its command, then `python tools/results.py --add RUN`, and open a pull request with docs/results.json and
docs/results.md.
"""

_MINIATURE = """\
## Miniature data

**These are no results of the data sets above.** They show that the recipes' commands lead to a table, and what comes out on
small data: pictures in the formats of ImageNet, CIFAR-10 and CelebA that `python -m nni_cafenet.testing` draws, by a seed,
from Fashion-MNIST on cuts of two photographs, and scenes of its items with boxes in the format of COCO. Networks and
trainings are smaller than those of the recipes, by the options shown. A run has one supernet and one search; its seeds are
those of the trainings of the networks that were found. "Most frequent" answers what is most frequent in training, whatever
the picture; boxes have no such answer.

```sh
python -m nni_cafenet.testing data
python -m nni_cafenet.testing --coco data/coco
```
"""


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--add', metavar='RUN', help='add a finished run')
    parser.add_argument('--miniature', action='store_true', help='the run to add is one on miniature data')
    parser.add_argument(
        '--check', action='store_true', help='only tell whether the page is that of recipes and results'
    )
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text(encoding='utf-8'))
    if options.add is not None:
        if options.miniature:
            name, record = miniature_record(options.add)
            results.setdefault('miniature', {})[name] = record
        else:
            name, record = record_of(options.add)
            results[name] = record
        RESULTS.write_text(json.dumps(results, indent=2, sort_keys=True) + '\n', encoding='utf-8')
    text = page(results)
    if options.check:
        current = PAGE.exists() and PAGE.read_text(encoding='utf-8') == text
        print(
            'docs/results.md is up to date.' if current else 'docs/results.md is out of date: python tools/results.py'
        )
        return 0 if current else 1
    PAGE.write_text(text, encoding='utf-8')
    return 0


def record_of(folder: str) -> tuple[str, dict[str, Any]]:
    """Return the name of a run's recipe, and its networks; ValueError if it departs from the recipe."""
    from nni_cafenet.cli.jobs import JobFolder

    job = JobFolder(folder)
    asked, plain = _configurations(job)
    # The arguments of the factory get the number of classes from the data.
    different = plain.differences(asked, without=('data.source', 'seed'))
    if different:
        raise ValueError(f'{folder}: the run departs from {asked["recipe"]}:\n  ' + '\n  '.join(different))
    return asked['recipe'], {'networks': _networks(job)}


def miniature_record(folder: str) -> tuple[str, dict[str, Any]]:
    """Return the name of a run's recipe, its command, its networks, and the metric of the most frequent answer."""
    from nni_cafenet.cli.jobs import JobFolder

    job = JobFolder(folder)
    asked, plain = _configurations(job)
    name = asked['recipe']
    form = Recipe.load(name).form.partition(':')[0]
    words = ['nni-cafenet', 'search', '--recipe', name]
    words += ['--data', f'{form}:data/{name.partition("/")[0]}', '--output', f'runs/{name.replace("/", "-")}']
    # The location of the data is that of the page's command, which writes them.
    sets = [
        f'{path}={value if isinstance(value, str) else json.dumps(value)}'
        for path, value in asked.items()
        if path not in _OWN and value != plain[path]
    ]
    again = {path: Given(path, asked[path]) for path in _OWN} | set_fields(sets)
    if Configuration.checked(None, again) != asked:
        raise RuntimeError(f'{folder}: the command {" ".join(words)} does not ask for what ran')
    if asked['seed']:
        words += ['--seed', str(asked['seed'])]
    networks = _networks(job)
    seeds = sorted({int(seed) for each in networks for seed in each['values']} - {asked['seed']})
    record = {'command': shlex.join(words), 'set': [shlex.quote(each) for each in sets], 'seeds': seeds}
    return name, {**record, 'networks': networks, 'most_frequent': _most_frequent(asked)}


def _configurations(job: JobFolder) -> tuple[Configuration, Configuration]:
    """Return the configuration of a run, and that of its recipe alone."""
    asked = job.load().configuration
    if asked['recipe'] is None:
        raise ValueError(f'{job.path}: the run has no named recipe')
    return asked, Configuration.checked(None, {path: Given(path, asked[path]) for path in _OWN})


def _networks(job: JobFolder) -> list[dict[str, Any]]:
    from nni_cafenet.cli.jobs import compared_networks

    return [
        {
            'network': each.name,
            'macs': each.macs,
            'params': each.params,
            'score': None if math.isnan(each.score) else each.score,
            'values': {str(seed): value for seed, value in sorted(each.values.items())},
        }
        for each in compared_networks(job)
    ]


def _most_frequent(asked: Configuration) -> float | None:
    """Return the share of validation targets that are the most frequent one in training, attribute by attribute.

    None for boxes.
    """
    import torch
    from torch.utils.data import DataLoader

    from nni_cafenet.cli.data import DataRequest, load_data

    data = load_data(DataRequest(asked['data.source'], seed=asked['seed']))
    if isinstance(data.train.dataset[0][1], dict):
        return None
    train, valid = (
        torch.cat([targets for _, targets in DataLoader(loader.dataset, batch_size=256)])
        for loader in (data.train, data.validate)
    )
    if train.dim() == 1:
        return float((valid == train.bincount().argmax()).double().mean())
    return float((valid == (train.double().mean(0) > 0.5)).double().mean())


def page(results: Mapping[str, Any]) -> str:
    """Return the page."""
    lines = [_INTRO]
    for recipe in all_recipes():
        lines += [*_section(recipe, results.get(recipe.name)), '']
    lines.append(_MINIATURE)
    for name, result in sorted(results.get('miniature', {}).items()):
        lines += [*_miniature(Recipe.load(name), result), '']
    return '\n'.join(lines).rstrip('\n') + '\n'


def _section(recipe: Recipe, result: Mapping[str, Any] | None) -> Iterator[str]:
    yield f'## {recipe.name}'
    yield ''
    yield f'{recipe.network} ({format_count(recipe.macs)} MACs) on {recipe.data}, within {recipe.within}.'
    yield ''
    yield '```sh'
    yield f'nni-cafenet search --recipe {recipe.name} --data {recipe.form} --output runs/{recipe.name.replace("/", "-")}'
    yield '```'
    yield ''
    cost = recipe.cost()
    total = sum(cost.values())
    parts = ', '.join(f'{name} {macs / 1e18:.2g}' for name, macs in cost.items())
    yield f'Cost: {total / 1e18:.2g} · 10^18 MACs ({parts}); {total / RATE / 3600:.2g} hours at 10^13 a second.'
    yield ''
    yield f'| network | MACs | {recipe.metric} | seeds | source |'
    yield '| --- | ---: | ---: | --- | --- |'
    for each in recipe.published:
        note = f'; {each.note}' if each.note else ''
        yield f'| {each.method} | {each.macs} | {each.value:g} | | published{note} |'
    if result is None:
        for name in ('full', 'uniform', 'searched'):
            yield f'| {name} | | | | ours: not run yet |'
        return
    yield from _rows(result, 'ours')


def _miniature(recipe: Recipe, result: Mapping[str, Any]) -> Iterator[str]:
    folder = f'runs/{recipe.name.replace("/", "-")}'
    yield f'### {recipe.name}, miniature data'
    yield ''
    yield '```sh'
    yield f'{result["command"]} \\'
    yield f'    --set {" ".join(result["set"])}'
    for seed in result['seeds']:
        yield f'nni-cafenet train-slim {folder} --which searched uniform full --seed {seed}'
    yield f'python tools/results.py --add {folder} --miniature'
    yield '```'
    yield ''
    yield f'| network | MACs | {recipe.metric} | seeds | source |'
    yield '| --- | ---: | ---: | --- | --- |'
    if result['most_frequent'] is not None:
        yield f'| most frequent | | {100 * result["most_frequent"]:.2f} | | miniature data |'
    yield from _rows(result, 'ours, miniature data')


def _rows(result: Mapping[str, Any], source: str) -> Iterator[str]:
    for each in result['networks']:
        values = list(each['values'].values())
        spread = f' ± {100 * stdev(values):.2f}' if len(values) > 1 else ''
        shown = f'{100 * mean(values):.2f}{spread}' if values else ''
        yield f'| {each["network"]} | {format_count(each["macs"])} | {shown} | {" ".join(each["values"])} | {source} |'


if __name__ == '__main__':
    sys.exit(main())
