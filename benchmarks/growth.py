"""How the time of a step grows with the width of the network; and a picture of how all else grows.

Steps of the supernet (forward in training mode, cross-entropy, backward) and of the real slim network, at ratios from a
tenth of each width to all of it, in turns; a straight line of time over MACs is fitted to each. `--search` and `--space`
take the files that `benchmarks/search.py --part growth` and `benchmarks/space.py` have written; `--picture` draws
everything, on logarithmic axes, where a slope of 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
import torch
import torchvision
from tqdm.auto import tqdm

from nni_cafenet import WidthSpace
from nni_cafenet.report.plots.style import BEFORE, GREY, NOW, drawing, rendered
from nni_cafenet.utils.files import write_bytes, write_json
from nni_cafenet.utils.tables import as_markdown
from step import Sides
from zoo.growth import exponent
from zoo.side_by_side import add_clock_options, machine, side_by_side

Curves = dict[str, tuple[list[float], list[float]]]
"""``{name: (what it grows with, seconds)}``."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', nargs='+', default=['resnet18', 'mobilenet_v2'])
    parser.add_argument('--points', type=int, default=8, help='ratios between 0.1 and 1 (default: 8)')
    parser.add_argument('--images', type=int, default=16)
    parser.add_argument('--size', type=int, default=64)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--search', type=Path, help='growth.json of benchmarks/search.py')
    parser.add_argument('--space', type=Path, help='space.json of benchmarks/space.py')
    parser.add_argument('--picture', type=Path, help='an SVG file')
    parser.add_argument('--output', default='growth', help='folder of the numbers (default: %(default)s)')
    add_clock_options(parser, rounds=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    panels: dict[str, Curves] = {'a step, over MACs': steps(options)}
    if options.search:
        panels.update(of_search(json.loads(options.search.read_text())['points']))
    if options.space:
        depth = json.loads(options.space.read_text())['depth']
        panels['building a space, over layers'] = {
            'all': (depth['depth'], depth['seconds']),
            'torch.export alone': (depth['depth'], depth['export']),
        }
    write_json(Path(options.output) / 'growth.json', {'machine': machine(options.device), 'panels': panels})
    rows = [
        [panel, name, f'{exponent(x, y):.2f}', *line(x, y)]
        for panel, curves in panels.items()
        for name, (x, y) in curves.items()
    ]
    print(as_markdown(['time of', 'curve', 'exponent', 'offset of a straight line', 'r²'], rows, align='llrrr'))
    print(f'\n{machine(options.device)}.')
    if options.picture:
        write_bytes(options.picture, picture(panels))


def steps(options: argparse.Namespace) -> Curves:
    """Time steps at several widths."""
    curves: Curves = {}
    shape = (3, options.size, options.size)
    for name in options.models:
        torch.manual_seed(options.seed)
        space = WidthSpace(getattr(torchvision.models, name)(), example_input=(1, *shape)).to(options.device)
        images = torch.randn(options.images, *shape, device=options.device)
        for ratio in tqdm(np.geomspace(0.1, 1, options.points).tolist(), desc=name, unit='width'):
            sides = Sides(space, ratio, images, options.seed)
            calls = {side: (lambda side=side, sides=sides: sides.step(side)) for side in ('slim', 'locally free')}
            seconds = side_by_side(calls, options.rounds, cpu_time=options.cpu_time, before_round=sides.draw)
            for side, told in (('slim', 'slim network'), ('locally free', 'supernet')):
                x, y = curves.setdefault(f'{name}, {told}', ([], []))
                x.append(space.macs(sides.widths) * options.images)
                y.append(statistics.median(seconds[side]))
    return curves


def of_search(points: dict[str, list[list[float]]]) -> dict[str, Curves]:
    """Sort the curves of `benchmarks/search.py` by what they grow with."""
    panels: dict[str, Curves] = {}
    for name, line_ in points.items():
        what, _, over = name.rpartition(', over ')
        panels.setdefault(f'searching, over {over}', {})[what] = ([x for x, _ in line_], [y for _, y in line_])
    return panels


def line(x: list[float], y: list[float]) -> list[str]:
    """Fit a straight line; return its offset, as a share of the largest value, and the variance that it explains."""
    slope, offset = np.polyfit(x, y, 1)
    rest = np.asarray(y) - (slope * np.asarray(x) + offset)
    return [f'{100 * offset / max(y):.0f} %', f'{1 - rest.var() / np.var(y):.3f}']


def picture(panels: dict[str, Curves]) -> bytes:
    """Draw every panel on logarithmic axes."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    colors = [NOW, BEFORE, '#c2410c', GREY]
    with drawing():
        figure = Figure(figsize=(4 * len(panels), 4), layout='constrained')
        for axes, (panel, curves) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items()):
            for (name, (x, y)), color in zip(curves.items(), colors):
                axes.loglog(x, y, marker='o', markersize=3, color=color, label=f'{name}: {exponent(x, y):.2f}')
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_title(panel, fontsize=9)
            axes.set_ylabel('s')
            axes.legend(fontsize=7, loc='upper center', bbox_to_anchor=(0.5, -0.1))  # below: curves fill the panel
        return rendered(figure, 'svg')


if __name__ == '__main__':
    main()
