"""``nni-cafenet recipes``: the named recipes of published experiments."""

from __future__ import annotations

import argparse
from typing import Any

from ...utils import as_table, format_count
from ..recipes import Recipe, all_recipes
from ..yaml_files import to_yaml

__all__ = ['add']

_DESCRIPTION = """\
List the named recipes: experiments of the paper and of its peers, with network, data, budget, training and search. A recipe
gives the defaults of `nni-cafenet search --recipe NAME`; every option overrides it.
"""

_EXAMPLES = """\
examples:
  nni-cafenet recipes                                    all of them
  nni-cafenet recipes imagenet/mobilenet_v2-300M         one of them: its source, what is published, and its fields
  nni-cafenet search --recipe imagenet/mobilenet_v2-300M --data imagefolder:/data/imagenet --output runs/mbv2
  nni-cafenet search --recipe cifar10/vgg19-199M --data cifar10:/data/cifar10 --fraction 0.01 --output runs/try

The cost is estimated in 10^18 MACs: supernet, search, and the trainings of networks (searched, uniform, full).
Exit status: 0 done, 1 failed, 2 bad arguments or bad input, 130 interrupted.
"""

_EXA = 1e18


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        'recipes', help='the named recipes of published experiments', description=_DESCRIPTION, epilog=_EXAMPLES
    )
    parser.add_argument('name', metavar='NAME', nargs='?', help='show one of them')
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    print(_table(all_recipes()) if options.name is None else _page(Recipe.load(options.name)))
    return 0


def _table(recipes: list[Recipe]) -> str:
    rows = []
    for each in recipes:
        best = max(each.published, key=lambda published: published.value, default=None)
        shown = '-' if best is None else f'{best.value:g} ({best.method}, {best.macs})'
        rows.append([each.name, each.network, each.data, each.budget, shown, f'{sum(each.cost().values()) / _EXA:.3g}'])
    return as_table(
        ['recipe', 'network', 'data', 'budget', 'published, best', 'cost (10^18 MACs)'], rows, align='lllrlr'
    )


def _page(recipe: Recipe) -> str:
    cost = {name: f'{macs / _EXA:.3g}' for name, macs in recipe.cost().items()}
    lines = [
        f'{recipe.name}: {recipe.network} ({format_count(recipe.macs)} MACs) on {recipe.data}, within {recipe.within}',
        '',
        recipe.source.strip(),
        '',
        f'Published ({recipe.metric}):' if recipe.published else 'Published: nothing in the sources that we have read.',
        *(f'  {each}' for each in recipe.published),
        '',
        f'Estimated cost in 10^18 MACs: {", ".join(f"{name} {macs}" for name, macs in cost.items())}',
        f'Command: nni-cafenet search --recipe {recipe.name} --data {recipe.form} --output RUN',
        '',
        to_yaml(recipe.job).rstrip(),
    ]
    return '\n'.join(lines)
