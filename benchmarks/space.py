"""Time and memory to build the space of a classifier, verification included; Torch-Pruning and NVIDIA ModelOpt beside it.

Every tool and model has a fresh process with one thread; what is imported on first use is imported before the clock starts.
Ours: `WidthSpace`, from the model to the verified space. Torch-Pruning: its graph, its importance and one pruning step.
ModelOpt: `convert` to the space of its FastNAS mode, which traces shapes and verifies nothing. Seconds are those of the
clock on the wall, or of the processor with `--cpu-time`, where others work too. Memory is how much higher the peak of the
process is afterwards than after making the model and calling it once.

How building grows with depth: chains of convolutions with normalization, in this process, in rounds; the exponent is the
slope of a line through the logarithms. Beside it `torch.export` of the same model, which building does without.

    python benchmarks/space.py --output space
    python benchmarks/space.py --models all --output space
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from nni_cafenet import WidthSpace
from nni_cafenet.utils.files import write_json, write_text
from nni_cafenet.utils.tables import as_markdown
from zoo.growth import told
from zoo.models import cases
from zoo.process import BUILD_ONLY, MODULES, installed_tools, row_of
from zoo.side_by_side import machine

MODELS = ['resnet18', 'resnet50', 'mobilenet_v2', 'efficientnet_b0', 'densenet121', 'vgg16', 'swin_t', 'vit_b_16']


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', nargs='*', default=MODELS, help="torchvision's names, or all (default: eight)")
    parser.add_argument('--tools', nargs='+', choices=MODULES, help='what to measure (default: all that are installed)')
    parser.add_argument('--seconds', type=float, default=300, help='time limit of a tool on a model (default: 300)')
    parser.add_argument('--depths', type=int, nargs='*', default=[10, 30, 100, 300], help='lengths of the chains')
    parser.add_argument('--rounds', type=int, default=3, help='processes a model and builds a depth (default: 3)')
    parser.add_argument('--cpu-time', action='store_true', help='count the time that a process works')
    parser.add_argument('--output', default='space', help='folder of the numbers (default: %(default)s)')
    options = parser.parse_args(arguments)
    classifiers = [case.name for case in cases().values() if case.family == 'classification']
    if options.models == ['all']:
        options.models = classifiers
    if unknown := sorted(set(options.models) - set(classifiers)):
        parser.error(f'--models: {unknown[0]!r} is no classifier of this benchmark; benchmarks/zoo/models.py has them')
    if missing := sorted(set(options.tools or ()) - set(installed_tools())):
        parser.error(f'--tools: {missing[0]} is not installed; pip install nni-cafenet[bench]')
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for, and print and write it."""
    options = options_of(arguments)
    torch.set_num_threads(1)
    tools = options.tools or installed_tools()
    rows: dict[str, dict[str, list[dict[str, Any]]]] = {model: {tool: [] for tool in tools} for model in options.models}
    with tqdm(total=len(rows) * len(tools) * options.rounds, unit='process') as bar:
        for model, sides in rows.items():
            for _ in range(options.rounds):
                for tool in tools:  # in turns
                    sides[tool].append(row_of(tool, model, draws=BUILD_ONLY, seconds=options.seconds, memory=0))
                    bar.update()
    result = {'machine': machine(), 'models': rows, 'depth': by_depth(options)}
    text = page(result, 'cpu_seconds' if options.cpu_time else 'seconds')
    write_json(Path(options.output) / 'space.json', result)
    write_text(Path(options.output) / 'space.md', text + '\n')
    print(text)


def by_depth(options: argparse.Namespace) -> dict[str, list[float]]:
    """Return ``{'depth': layers, 'seconds': of building, 'export': of torch.export}``, a point a depth."""
    clock = time.process_time if options.cpu_time else time.perf_counter
    points: dict[str, list[float]] = {'depth': [], 'seconds': [], 'export': []}
    example = (1, 3, 8, 8)
    for depth in tqdm(options.depths, desc='depth', unit='chain'):
        seconds, export = [], []
        for round_ in range(-1, options.rounds):  # the first one warms up
            model = chain(depth)
            start = clock()
            torch.export.export(model, (torch.zeros(example),), strict=False)
            middle = clock()
            WidthSpace(model, example_input=example)
            if round_ >= 0:
                export.append(middle - start)
                seconds.append(clock() - middle)
        points['depth'].append(depth)
        points['seconds'].append(statistics.median(seconds))
        points['export'].append(statistics.median(export))
    return points


def chain(depth: int) -> nn.Module:
    """Return as many convolutions with normalization in a row, of 16 channels each, in eval mode."""
    layers: list[nn.Module] = []
    for index in range(depth):
        layers += [nn.Conv2d(16 if index else 3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)).eval()


def page(result: dict[str, Any], column: str) -> str:
    """Return the table, the growth, and below them why a side has a dash."""
    reasons: list[str] = []
    medians: dict[str, list[float]] = {}
    table = []
    for model, sides in result['models'].items():
        line: list[str] = [model]
        for tool, rows in sides.items():
            medians.setdefault(tool, [])
            timed = [row for row in rows if column in row]
            if not timed:
                reasons.append(f'-: {tool}, {model}: {rows[0].get("why", "no time measured")}')
                line += ['-', '-']
                continue
            seconds = statistics.median(row[column] for row in timed)
            medians[tool].append(seconds)
            line += [f'{seconds:.2f} s', _memory(timed)]
        table.append(line)
    if len(table) > 1:
        shown = [[f'{statistics.median(found):.2f} s' if found else '-', ''] for found in medians.values()]
        table.append(['median', *(cell for pair in shown for cell in pair)])
    lines = []
    if table:
        headers = [header for tool in medians for header in (tool, f'{tool}, memory')]
        lines.append(as_markdown(['model', *headers], table))
    points = result['depth']
    if len(points['depth']) > 1:
        for name in ('seconds', 'export'):
            what = 'building' if name == 'seconds' else 'torch.export alone'
            lines.append(told(f'{what} by depth', points['depth'], points[name]))
    return '\n\n'.join([*lines, *reasons, result['machine']])


def _memory(rows: Sequence[dict[str, Any]]) -> str:
    grown = [row['memory_growth'] for row in rows if 'memory_growth' in row]
    return f'+{statistics.median(grown):,.0f} MiB' if grown else '-'


if __name__ == '__main__':
    main()
