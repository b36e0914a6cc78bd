"""What can change in the spaces of NNI's hub at random samples, and whether it is exact.

Each space is fixed at seeded samples by ``WidthMutator().mutate(space, sample=...)``; its channel groups are searched.
Spaces with choices of widths are searched in their own labels too, the other choices fixed. Supernet, slim model and costs
are compared in float64, in both modes, at the smallest, the largest and random widths with random channel sets. The share
of MACs that can change is that between the full network and the narrowest. Seconds are those of the processor for building
the space, verification included. Spaces are small versions, where their constructors permit it.

    python benchmarks/hub.py --output hub
    python benchmarks/hub.py --spaces DARTS AutoFormer --samples 3 --output hub
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nni_cafenet.utils.files import write_json, write_text
from nni_cafenet.utils.tables import as_markdown
from zoo.measures import first_line, stopwatch
from zoo.models import scramble
from zoo.nni_hub import CASES, HubCase
from zoo.ours import check, least_widths

_HEADERS = ['space', 'sample', 'searched', 'choices', 'groups', 'MACs', 'can change', 'exact', 's', 'fixed']
_MOST = 90


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--spaces', nargs='+', choices=CASES, default=list(CASES), help='which ones (default: all)')
    parser.add_argument('--samples', type=int, default=1, help='samples of each space (default: 1)')
    parser.add_argument('--draws', type=int, default=2, help='random widths to check (default: 2)')
    parser.add_argument('--output', type=Path, default=Path('hub'), help='folder of the numbers (default: %(default)s)')
    return parser.parse_args(arguments)


def row_of(name: str, case: HubCase, seed: int, *, own_labels: bool, draws: int) -> dict[str, Any]:
    """Build a width space at a sample and check it; return its row."""
    row: dict[str, Any] = {'space': name, 'sample': seed, 'searched': 'own labels' if own_labels else 'channel groups'}
    try:
        sample = case.sample(seed)
        with stopwatch() as watch:
            space = case.at(sample, own_labels=own_labels)
        most = space.macs(space.full_widths)
        least = space.macs(least_widths(space))
        row |= {
            'choices': len(space.labels),
            'groups': len(space.groups),
            'macs': most,
            'share': 1 - least / most,
            **watch.row(),
            'fixed': dict(Counter(record.reason for record in space.graph.fixed)),
        }
        torch.manual_seed(seed)
        scramble(space.full_model.double())
        return row | check(space, case, draws)  # type: ignore[arg-type]
    except (RuntimeError, TypeError, ValueError) as error:
        return row | {'verdict': 'failed', 'why': first_line(error)}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a Markdown table."""
    return as_markdown(_HEADERS, [_cells(row) for row in rows])


def _cells(row: dict[str, Any]) -> list[str]:
    start = [row['space'], str(row['sample']), row['searched']]
    if row['verdict'] == 'failed':
        return [*start, *[''] * 4, f'failed: {row["why"]}', '', '']
    fixed = '; '.join(f'{number} x {_short(reason)}' for reason, number in row['fixed'].items())
    exact = 'yes' if row['verdict'] == 'exact' else f'no: {row["why"]}'
    numbers = [str(row['choices']), str(row['groups']), f'{row["macs"]:,}', f'{row["share"]:.1%}']
    return [*start, *numbers, exact, f'{row["cpu_seconds"]:.1f}', fixed]


def _short(reason: str) -> str:
    return reason if len(reason) <= _MOST else f'{reason[: _MOST - 3]}...'


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for, and print and write it."""
    options = options_of(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    for logger in ('nni', 'nni_cafenet'):
        logging.getLogger(logger).setLevel(logging.ERROR)
    rows: list[dict[str, Any]] = []
    for name in options.spaces:
        case = CASES[name]
        for seed in range(options.samples):
            for own_labels in (False, True) if case.widths else (False,):
                rows.append(row_of(name, case, seed, own_labels=own_labels, draws=options.draws))
                print(' | '.join(_cells(rows[-1])), flush=True)
                write_json(options.output / 'hub.json', rows)
    write_text(options.output / 'hub.md', table(rows) + '\n')
    print(table(rows))


if __name__ == '__main__':
    main()
