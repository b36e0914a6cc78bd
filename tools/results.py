"""The page of results: ``python tools/results.py`` writes docs/results.md from the recipes and docs/results.json.

``python tools/results.py --add RUN`` first adds a finished run of `nni-cafenet search --recipe NAME`. A run that departs
from its recipe is refused. ``--check`` writes nothing, and exits with status 1 where the page is out of date.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from nni_cafenet.cli.config import Configuration, Given
from nni_cafenet.cli.recipes import Recipe, all_recipes
from nni_cafenet.utils import format_count

DOCS = Path(__file__).resolve().parents[1] / 'docs'
PAGE, RESULTS = DOCS / 'results.md', DOCS / 'results.json'
RATE = 1e13
"""MACs a second at which hours are given: a figure to scale from, not a measurement."""

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
`nni-cafenet search --recipe NAME --data ... --dry-run` times first steps on your device. Miniature data in the real formats
try every recipe's command in the tests; such runs learn nothing, and have no row here.

To fill a row: run its command, then `python tools/results.py --add RUN`, and open a pull request with docs/results.json and
docs/results.md.
"""


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--add', metavar='RUN', help='add a finished run')
    parser.add_argument(
        '--check', action='store_true', help='only tell whether the page is that of recipes and results'
    )
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text(encoding='utf-8'))
    if options.add is not None:
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
    from nni_cafenet.cli.jobs import JobFolder, compared_networks

    job = JobFolder(folder)
    record = job.load()
    asked = record.configuration
    if asked['recipe'] is None:
        raise ValueError(f'{folder}: the run has no named recipe')
    own = ('recipe', 'data.source', 'output', 'seed')
    plain = Configuration.checked(None, {path: Given(path, asked[path]) for path in own})
    # The arguments of the factory get the number of classes from the data.
    different = plain.differences(asked, without=('data.source', 'seed'))
    if different:
        raise ValueError(f'{folder}: the run departs from {asked["recipe"]}:\n  ' + '\n  '.join(different))
    networks = [
        {
            'network': each.name,
            'macs': each.macs,
            'params': each.params,
            'score': None if math.isnan(each.score) else each.score,
            'values': {str(seed): value for seed, value in sorted(each.values.items())},
        }
        for each in compared_networks(job)
    ]
    return asked['recipe'], {'networks': networks}


def page(results: Mapping[str, Any]) -> str:
    """Return the page."""
    lines = [_INTRO]
    for recipe in all_recipes():
        lines += [*_section(recipe, results.get(recipe.name)), '']
    return '\n'.join(lines)


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
    for each in result['networks']:
        values = list(each['values'].values())
        spread = f' ± {100 * stdev(values):.2f}' if len(values) > 1 else ''
        shown = f'{100 * mean(values):.2f}{spread}' if values else ''
        yield f'| {each["network"]} | {format_count(each["macs"])} | {shown} | {" ".join(each["values"])} | ours |'


if __name__ == '__main__':
    sys.exit(main())
