"""How much faster is a pruned network where it runs? Full and uniformly scaled networks, in torch and in ONNX Runtime.

The uniform network of a share has at most that share of the full network's MACs. All networks are timed in turns, each
round in another order, by the clocks of `benchmarks/latency.py`; a call in a round comes after untimed ones. The table has
the median and the quartiles over the rounds. On a machine that does other work beside, `--cpu-time` counts the time that
the processor works on the network, with one thread, and not the time that it waits for its turn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torchvision
from tqdm.auto import tqdm

from latency import make_clock
from nni_cafenet import WidthSpace
from nni_cafenet.latency.clock import Timing
from nni_cafenet.search import Budget, uniform_within
from nni_cafenet.utils.files import write_json, write_text
from nni_cafenet.utils.tables import as_markdown
from nni_cafenet.utils.units import format_count

RUNTIMES = {'torch': 'torch', 'onnxruntime': 'ONNX Runtime'}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', default='resnet18', help='a classifier of torchvision (default: %(default)s)')
    parser.add_argument('--size', type=int, default=112, help='height and width of its input (default: %(default)s)')
    parser.add_argument('--shares', nargs='+', default=['50%', '25%'], help='budgets of MACs (default: 50%% 25%%)')
    parser.add_argument('--divisor', type=int, default=1, help='numbers that widths are multiples of (default: 1)')
    parser.add_argument('--rounds', type=int, default=30, help='timed calls of each network (default: %(default)s)')
    parser.add_argument(
        '--warmup', type=int, default=3, help='untimed calls before each of them (default: %(default)s)'
    )
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--cpu-time', action='store_true', help='count CPU time; for one thread')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--output', default='speed_up', help='folder of the numbers (default: %(default)s)')
    options = parser.parse_args()
    text, record = measure(options)
    write_json(Path(options.output) / 'speed_up.json', record)
    write_text(Path(options.output) / 'speed_up.md', text + '\n')
    print(text)


def measure(options: argparse.Namespace) -> tuple[str, dict]:
    """Time all networks; return the table with its conditions, and the numbers behind it."""
    factory, example = getattr(torchvision.models, options.model), (1, 3, options.size, options.size)
    space = WidthSpace(factory, example_input=example, divisor=options.divisor)
    widths = {'full': space.full_widths}
    widths.update({f'uniform, {share}': uniform_within(Budget.parse(share, space)) for share in options.shares})
    networks = {name: space.slim(each).eval() for name, each in widths.items()}
    clocks = {
        runtime: make_clock(argparse.Namespace(**vars(options), runtime=runtime, device='cpu')) for runtime in RUNTIMES
    }
    inputs = space.example_input.with_batch(options.batch)
    times: dict[str, list[int]] = {f'{name}, {runtime}': [] for name in networks for runtime in clocks}
    jobs, rng = [(name, runtime) for name in networks for runtime in clocks], np.random.default_rng(options.seed)
    for _ in tqdm(range(options.rounds), desc=options.model, unit='round'):
        for index in rng.permutation(len(jobs)):
            name, runtime = jobs[index]
            timing = clocks[runtime].model(networks[name], inputs, warmup=options.warmup, repeats=1, name=name)
            times[f'{name}, {runtime}'].append(timing.median)
    macs = {name: space.macs(each) for name, each in widths.items()}
    rows = [
        [
            name,
            format_count(macs[name]),
            f'{100 * macs[name] / macs["full"]:.1f} %',
            *(cell(times, name, runtime) for runtime in clocks),
        ]
        for name in networks
    ]
    headers = ['network', 'MACs', 'of full', *(f'{title}, ms' for title in RUNTIMES.values())]
    conditions = '; '.join(clock.describe() for clock in clocks.values())
    what = f'{options.model}, {options.size} x {options.size}, batch {options.batch}'
    what += '' if options.divisor == 1 else f', widths in multiples of {options.divisor}'
    text = (
        f'{as_markdown(headers, rows, align="lrrrr")}\n\n{what}; median of {options.rounds} rounds, in parentheses the '
        f'quartiles, then the full network over this one. {conditions}.'
    )
    return text, {'times_ns': times, 'macs': macs, 'conditions': conditions, 'options': vars(options)}


def cell(times: dict[str, list[int]], name: str, runtime: str) -> str:
    found, full = Timing.of(times[f'{name}, {runtime}']), Timing.of(times[f'full, {runtime}'])
    return f'{found.median / 1e6:.2f} ({found.low / 1e6:.2f} to {found.high / 1e6:.2f}), {full.median / found.median:.2f} x'


if __name__ == '__main__':
    main()
