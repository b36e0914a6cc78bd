"""How well a latency table predicts networks of random widths, beside their MACs.

For each model: measure a `LatencyTable` (operators one by one, eleven networks for the scales of their kinds), then
time other random networks for real, in rounds, each round in another order; the median of the rounds counts. MACs
become times by a scale and an offset, too, fitted in the same way to the first eleven of these networks, which are
not predicted. "Fitted again" is the table with a scale and an offset from the same eleven: the machine may have been
faster or slower while the table was measured.

The spread is that of the real times between rounds, which no prediction can beat: the median over the networks of the
range of their rounds, relative to the median round. On a machine that does other work beside, `--cpu-time` counts the time
that the processor works on the network, with one thread, and not the time that it waits for its turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torchvision
from tqdm.auto import tqdm

from nni_cafenet import WidthSpace
from nni_cafenet.latency.calibration import PredictionError, fit, prediction_error, random_widths
from nni_cafenet.latency.clock import Clock
from nni_cafenet.latency.runtimes import OnnxClock, clock_of
from nni_cafenet.latency.table import measure_table
from nni_cafenet.utils.files import write_json, write_text
from nni_cafenet.utils.tables import as_markdown
from nni_cafenet.utils.units import format_time

FITTED = 11


class CpuTime:
    """Counts the time that the processor works for this process; goes before a clock."""

    def describe(self) -> str:
        return f'{super().describe()}, CPU time'

    def _block(self, call: Callable[[], Any], calls: int) -> int:
        start = time.process_time_ns()
        for _ in range(calls):
            call()
        return time.process_time_ns() - start


class TorchCpuTime(CpuTime, Clock):
    """Networks in torch."""


class OnnxCpuTime(CpuTime, OnnxClock):
    """Networks in ONNX Runtime."""


def make_clock(options: argparse.Namespace) -> Clock:
    if not options.cpu_time:
        return clock_of(options.runtime, options.device, options.threads)
    if options.runtime == 'torch':
        return TorchCpuTime(options.device, options.threads)
    return OnnxCpuTime(options.runtime, options.threads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', nargs='+', default=['resnet18:224', 'mobilenet_v2:224'], metavar='NAME:SIZE')
    parser.add_argument('--networks', type=int, default=24, help='random networks that are predicted (default: 24)')
    parser.add_argument('--rounds', type=int, default=5, help='rounds of real times (default: 5)')
    parser.add_argument('--points', type=int, default=5, help='sizes of operators along each axis (default: 5)')
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--runtime', default='torch', help='torch, onnxruntime or onnxruntime:PROVIDER (default: torch)'
    )
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--cpu-time', action='store_true', help='count CPU time; for a CPU and one thread')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--output', default='latency', help='folder of the numbers (default: %(default)s)')
    options = parser.parse_args()
    results = [measure(*model.split(':'), options) for model in options.models]
    headers = [
        'model',
        'input',
        'full network',
        'predictor',
        'median error',
        'worst error',
        'rank correlation',
        'spread',
    ]
    rows = [row for result in results for row in result['rows']]
    table = as_markdown(headers, rows, align='lrrlrrrr')
    seconds = ', '.join(f'{result["model"]} {result["seconds"]:.0f} s' for result in results)
    text = f'{table}\n\n{results[0]["environment"]}, batch {options.batch}; tables measured in: {seconds}.'
    write_json(Path(options.output) / 'latency.json', results)
    write_text(Path(options.output) / 'latency.md', text + '\n')
    print(text)


def measure(name: str, size: str, options: argparse.Namespace) -> dict:
    space = WidthSpace(getattr(torchvision.models, name), example_input=(1, 3, int(size), int(size)))
    start = time.monotonic()
    clock = make_clock(options)
    table = measure_table(space, batch=options.batch, points=options.points, seed=options.seed, clock=clock)
    seconds = time.monotonic() - start
    print(table)
    rng = np.random.default_rng([options.seed, 1])
    widths = np.concatenate([random_widths(space.choices, number, rng) for number in (FITTED, options.networks)])
    times = np.zeros((options.rounds, len(widths)), np.int64)
    for number in tqdm(range(options.rounds), desc=f'{name}: real times', unit='round'):
        for index in rng.permutation(len(widths)):
            slim = space.slim(space.to_widths(widths[index])).eval().to(clock.device)
            example = space.example_input.with_batch(options.batch)
            times[number, index] = clock.model(slim, example, name=str(widths[index].tolist())).median
    real, macs = np.median(times, axis=0).astype(np.int64), space.macs(widths)
    spread = float(np.median(np.ptp(times, axis=0)[FITTED:] / real[FITTED:]))
    predicted = table.latency(widths)
    predictors = {
        'latency table': predicted,
        'the same, fitted again': fitted(predicted, real),
        'MACs': fitted(macs, real),
    }
    errors = {
        predictor: prediction_error(ours[FITTED:].tolist(), real[FITTED:].tolist())
        for predictor, ours in predictors.items()
    }
    full = format_time(table.latency(space.full_widths))
    rows = [
        [name, f'{size} x {size}', full, predictor, *cells(error), f'{100 * spread:.1f} %']
        for predictor, error in errors.items()
    ]
    return {
        'model': name,
        'environment': table.environment,
        'seconds': seconds,
        'rows': rows,
        'real': times.tolist(),
        'predicted': predicted.tolist(),
        'macs': macs.tolist(),
    }


def fitted(numbers: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Times from any numbers, by a scale and an offset that are fitted to the first networks."""
    return fit(numbers[:FITTED].tolist(), real[:FITTED].tolist())(numbers)


def cells(error: PredictionError) -> list[str]:
    return [f'{100 * error.median:.1f} %', f'{100 * error.worst:.1f} %', f'{error.rank_correlation:.3f}']


if __name__ == '__main__':
    main()
