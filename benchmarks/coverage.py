"""How much of every torchvision classifier can change its width, and whether it is exact.

A row a model, appended to a JSON lines file as soon as it is measured; run again to go on where it stopped. MACs are
multiply-accumulates of one sample (``FlopCounterMode / 2``), without fused attention kernels, which no counter sees.

    python benchmarks/coverage.py --models resnet18 swin_t
    python benchmarks/coverage.py                       # all of them
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from prettytable import PrettyTable
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import WidthSpace

TOLERANCE = 1e-9
"""The largest difference between supernet and slim model, relative to the largest value, that counts as exact."""


def classifiers() -> list[str]:
    """Return the names of torchvision's image classifiers, quantised ones left out."""
    return torchvision.models.list_models(module=torchvision.models)


def make(name: str) -> nn.Module:
    """Return a model with fresh weights in which no vector is constant, so that no wrong slice goes unseen."""
    torch.manual_seed(0)
    options = {'init_weights': False} if name in ('googlenet', 'inception_v3') else {}
    model = torchvision.models.get_model(name, weights=None, **options)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point() and bool((tensor == tensor.flatten()[0]).all()):
                tensor.add_(torch.rand_like(tensor) * (0.5 if tensor.dim() == 1 else 0.02))
    return model


def measure(name: str, resolution: int, draws: int) -> dict[str, Any]:
    """Build the space of a model and check it; return its row."""
    model = make(name)
    start = time.perf_counter()
    space = WidthSpace(model, example_input=(1, 3, resolution, resolution))
    seconds = time.perf_counter() - start
    full = np.array([list(space.full_widths.values())])
    most, half, least = (
        int(macs) for macs in space.macs(np.concatenate([full, np.maximum(full // 2, 1), full * 0 + 1]))
    )
    exact, error = check(space.double(), resolution, draws)
    return {
        'model': name,
        'resolution': resolution,
        'groups': len(space.labels),
        'macs': most,
        'share_that_can_change': round(1 - least / most, 4),
        'macs_at_half': round(half / most, 4),
        'seconds': round(seconds, 2),
        'error': error,
        'macs_exact': exact,
        'verdict': 'exact' if exact and error < TOLERANCE else 'WRONG',
        'fixed': sorted({record.reason for record in space.graph.fixed}),
    }


def check(space: WidthSpace, resolution: int, draws: int) -> tuple[bool, float]:
    """Whether MACs and parameters are those of slim models, and how far these are from the supernet, in float64."""
    rng = np.random.default_rng(0)
    pictures = torch.randn(2, 3, resolution, resolution, dtype=torch.float64)
    exact, error = True, 0.0
    for draw in range(draws):
        widths = {label: int(rng.integers(1, full + 1)) for label, full in space.full_widths.items()}
        sets = {
            label: np.sort(rng.choice(space.full_widths[label], width, replace=False))
            for label, width in widths.items()
        }
        space.train(draw % 2 == 1)
        slim = space.slim(widths, sets)
        space.activate(widths, sets)
        error = max(error, _distance(_run(space, pictures), _run(slim, pictures)))
        counter = FlopCounterMode(display=False)
        with counter:
            _run(slim.eval(), pictures[:1])
        exact &= space.macs(widths) * 2 == counter.get_total_flops()
        exact &= space.params(widths) == sum(parameter.numel() for parameter in slim.parameters())
    return exact, error


def _run(model: nn.Module, pictures: torch.Tensor) -> list[torch.Tensor]:
    torch.manual_seed(0)  # the same dropout
    with torch.no_grad():
        return [leaf for leaf in torch.utils._pytree.tree_leaves(model(pictures)) if isinstance(leaf, torch.Tensor)]


def _distance(left: list[torch.Tensor], right: list[torch.Tensor]) -> float:
    if [a.shape for a in left] != [b.shape for b in right]:
        return float('inf')
    distances = [float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in zip(left, right)]
    return max((d if d == d else float('inf') for d in distances), default=0.0)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as text, with a line of totals."""
    columns = [column for column in rows[0] if column != 'fixed'] if rows else ['model']
    text = PrettyTable(columns)
    text.align = 'r'
    text.align['model'] = text.align['verdict'] = 'l'
    for row in rows:
        text.add_row([f'{row[c]:.1e}' if c == 'error' and row.get(c) is not None else row.get(c, '') for c in columns])
    good = sum(row['verdict'] == 'exact' for row in rows)
    return f'{text}\n{good} of {len(rows)} models exact'


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', nargs='+', help='torchvision names (default: all classifiers)')
    parser.add_argument('--resolution', type=int, default=224, help='height and width of the pictures (default: 224)')
    parser.add_argument('--draws', type=int, default=2, help='random widths to check, in eval and train (default: 2)')
    parser.add_argument(
        '--output', type=Path, default=Path('coverage.jsonl'), help='file of rows (default: coverage.jsonl)'
    )
    options = parser.parse_args()
    unknown = sorted(set(options.models or ()) - set(classifiers()))
    if unknown:
        parser.error(f'torchvision has no classifier {unknown[0]!r}')
    logging.getLogger('nni').setLevel(logging.ERROR)
    warnings.simplefilter('ignore')
    torch.backends.mha.set_fastpath_enabled(False)
    lines = options.output.read_text().splitlines() if options.output.exists() else []
    rows = {(row['model'], row['resolution']): row for row in map(json.loads, lines)}
    wanted = [(name, options.resolution) for name in options.models or classifiers()]
    for key in wanted:
        if key in rows:
            continue
        try:
            rows[key] = measure(*key, options.draws)
        except Exception as error:  # noqa: BLE001 - one model must not end the run; its row says what happened
            first = (str(error).strip().splitlines() or [''])[0][:200]
            rows[key] = {'model': key[0], 'resolution': key[1], 'verdict': f'{type(error).__name__}: {first}'}
        with options.output.open('a') as file:
            file.write(json.dumps(rows[key]) + '\n')
        print(json.dumps({name: value for name, value in rows[key].items() if name != 'fixed'}), flush=True)
        gc.collect()
    found = sorted((rows[key] for key in wanted), key=lambda row: -len(row))
    print(table(found))


if __name__ == '__main__':
    main()
