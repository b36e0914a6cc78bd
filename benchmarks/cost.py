"""MACs and parameters of very many random widths, and random widths just below a budget; beside NNI and NVIDIA ModelOpt.

Costs: MACs and parameters of `--widths` random widths, ours in one call each. A peer computes them of as many widths as
`--peer-widths` says (ModelOpt: a thousandth of that), all sides in turns; what it would take for all is that much more.

Sampling: `--samples` distinct widths that use 98 to 100 % of a budget, given as a share of the full network's MACs. A peer
draws and filters for `--peer-seconds`; what it would take is told from how many it found by then, and a dash means none.

NNI: `FlopsProfiler` and `NumParamsProfiler`, without biases, normalization and activations, on the same space written with
NNI's mutable layers (benchmarks/zoo/nni_spaces.py), as they fail on torchvision's own networks; `RangeProfilerFilter` on
random samples. ModelOpt: the space of `convert(..., 'fastnas')`, its own `ConstraintsFunc` on `sample`.

How sampling grows: ours, with the number of groups (a chain of convolutions) and with the number of widths, at 50 %; the
exponent is the slope of a line through the logarithms.

    python benchmarks/cost.py --output cost
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn
from tqdm import tqdm

from nni_cafenet import WidthSpace
from nni_cafenet.search.budget import Budget
from nni_cafenet.search.sampling import sample_within
from nni_cafenet.utils.files import write_json, write_text
from nni_cafenet.utils.tables import as_markdown
from zoo.growth import told
from zoo.measures import first_line
from zoo.side_by_side import add_clock_options, machine, ratio, side_by_side

FLOOR = 0.98
SIZE = 224
PEERS = ('NNI', 'ModelOpt')
Cost = Callable[[int], Any]
"""Computes the cost of so many random widths."""


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', nargs='+', default=['mobilenet_v2', 'resnet50'], help='names in torchvision')
    parser.add_argument('--widths', type=int, default=10**6, help='widths whose cost is computed (default: 1000000)')
    parser.add_argument('--peer-widths', type=int, default=2000, help='of these, by peers (default: 2000)')
    parser.add_argument('--samples', type=int, default=10**4, help='distinct widths of a budget (default: 10000)')
    parser.add_argument('--budgets', type=int, nargs='+', default=[10, 25, 50, 90], help='per cent of the MACs')
    parser.add_argument('--peer-seconds', type=float, default=5, help='of sampling by a peer at a budget (default: 5)')
    parser.add_argument('--groups', type=int, nargs='*', default=[10, 30, 100, 300], help='lengths of the chains')
    parser.add_argument('--counts', type=int, nargs='*', default=[100, 1000, 10_000, 100_000], help='widths sampled')
    add_clock_options(parser, rounds=5)
    parser.add_argument('--output', default='cost', help='folder of the numbers (default: %(default)s)')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for, and print and write it."""
    options = options_of(arguments)
    torch.set_num_threads(options.threads)
    logging.getLogger('nni').setLevel(logging.ERROR)
    warnings.simplefilter('ignore')
    with tqdm(total=len(options.models) * (1 + len(options.budgets)) + 2, unit='part') as bar:
        models = {name: measure(name, options, bar) for name in options.models}
        growth = {'groups': by_groups(options), 'widths': by_counts(options)}
        bar.update(2)
    result = {'machine': machine(), 'models': models, 'growth': growth}
    text = page(result, options)
    write_json(Path(options.output) / 'cost.json', result)
    write_text(Path(options.output) / 'cost.md', text + '\n')
    print(text)


def measure(name: str, options: argparse.Namespace, bar: tqdm) -> dict[str, Any]:
    """Measure costs and sampling on one network; what a peer cannot do is a text that says why."""
    space = WidthSpace(getattr(torchvision.models, name), example_input=(1, 3, SIZE, SIZE))
    peers: dict[str, Any] = {}
    for peer, make in zip(PEERS, (_Nni, _ModelOpt)):
        try:
            peers[peer] = make(name, space)
        except Exception as error:  # noqa: BLE001 - its column says what happened
            peers[peer] = first_line(error)
    costs = _costs(space, {peer: side for peer, side in peers.items() if not isinstance(side, str)}, options)
    costs.update({peer: why for peer, why in peers.items() if isinstance(why, str)})
    bar.update()
    sampling: dict[str, Any] = {}
    for share in options.budgets:
        sampling[str(share)] = _sampling(space, share, peers, options)
        bar.update()
    return {'groups': len(space.labels), 'costs': costs, 'sampling': sampling}


def _costs(space: WidthSpace, peers: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Return ``{side: {'widths': number, 'seconds': of each round}}``, ``'times as long'`` a width for peers."""
    choices = [np.array(widths) for widths in space.choices.values()]
    rng = np.random.default_rng(0)
    widths = np.stack([rng.choice(allowed, options.widths) for allowed in choices], axis=1)
    numbers = {
        'ours': options.widths,
        **{peer: max(1, options.peer_widths // side.slowness) for peer, side in peers.items()},
    }
    sides: dict[str, Callable[[], Any]] = {'ours': lambda: (space.macs(widths), space.params(widths))}
    for peer, side in peers.items():
        sides[peer] = lambda side=side, n=numbers[peer]: [side.cost(side.draw(rng)) for _ in range(n)]  # type: ignore[misc]
    seconds = side_by_side(sides, options.rounds, cpu_time=options.cpu_time, warm=1)
    return {
        side: {
            'widths': number,
            'seconds': seconds[side],
            'times as long': ratio(seconds, side, 'ours') * options.widths / number,
        }
        for side, number in numbers.items()
    }


def _sampling(space: WidthSpace, share: int, peers: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Return ``{side: {'found': number, 'drawn': number, 'seconds': ...}}`` of one budget."""
    budget = Budget.parse(f'{share}%', space)
    found: list[Any] = []

    def ours() -> None:
        found[:] = [sample_within(space, budget, options.samples, np.random.default_rng(0), floor=FLOOR)]

    seconds = side_by_side({'ours': ours}, options.rounds, cpu_time=options.cpu_time, warm=1)['ours']
    near = int(((budget.usage(found[0]) >= FLOOR) & budget.allows(found[0])).sum())
    distinct = len(np.unique(found[0], axis=0))
    result: dict[str, Any] = {
        'ours': {'found': min(near, distinct), 'drawn': options.samples, 'seconds': statistics.median(seconds)}
    }
    for peer, side in peers.items():
        result[peer] = side if isinstance(side, str) else _filtered(side, share, options)
    return result


def _filtered(side: Any, share: int, options: argparse.Namespace) -> dict[str, Any] | str:
    """Draw and filter as a peer does until time is up, or all are found."""
    rng = np.random.default_rng(0)
    try:
        fits = side.filter(share / 100)
        kept: set[Any] = set()
        drawn, start = 0, time.perf_counter()
        while time.perf_counter() - start < options.peer_seconds and len(kept) < options.samples:
            sample = side.draw(rng)
            drawn += 1
            if fits(sample):
                kept.add(tuple(sorted(sample.items())))
        return {'found': len(kept), 'drawn': drawn, 'seconds': time.perf_counter() - start}
    except Exception as error:  # noqa: BLE001 - its column says what happened
        return first_line(error)


class _Nni:
    """NNI's profilers and filter."""

    slowness = 1

    def __init__(self, name: str, space: WidthSpace) -> None:
        from nni.nas.oneshot.pytorch.profiler import RangeProfilerFilter
        from nni.nas.profiler.pytorch.flops import FlopsProfiler, NumParamsProfiler

        from zoo.nni_spaces import SPACES

        if name not in SPACES:
            raise ValueError('its profilers know no layers that this network is made of')
        model, picture = SPACES[name](choices=space.choices), torch.zeros(1, 3, SIZE, SIZE)
        self._macs = FlopsProfiler(model, picture, count_bias=False, count_normalization=False, count_activation=False)
        self._params = NumParamsProfiler(model, picture)
        self._range = RangeProfilerFilter
        self._space = dict(model.simplify())
        self._full = self._macs.profile(space.full_widths)
        if int(self._full) != space.macs(space.full_widths):
            raise ValueError(f'it counts {self._full:,} MACs, not {space.macs(space.full_widths):,}')

    def draw(self, rng: np.random.Generator) -> dict[str, int]:
        """Draw a sample as its random strategy does, a choice a mutable."""
        return {label: mutable.values[rng.integers(len(mutable.values))] for label, mutable in self._space.items()}

    def cost(self, sample: dict[str, int]) -> tuple[Any, Any]:
        """MACs and parameters of one sample."""
        return self._macs.profile(sample), self._params.profile(sample)

    def filter(self, share: float) -> Callable[[dict[str, int]], bool]:
        """Whether a sample is within the range of a budget."""
        limit = share * self._full
        kept: Callable[[dict[str, int]], bool] = self._range(self._macs, FLOOR * limit, limit).filter
        return kept


class _ModelOpt:
    """The random sampling of ModelOpt's searches, and what they filter it by."""

    slowness = 1000

    def __init__(self, name: str, space: WidthSpace) -> None:
        import modelopt.torch.nas as mtn
        from modelopt.torch.nas.algorithms import ConstraintsFunc

        self._modelopt, self._constraints = mtn, ConstraintsFunc
        self._model = mtn.convert(getattr(torchvision.models, name)().eval(), 'fastnas')
        self._picture = torch.zeros(1, 3, SIZE, SIZE)
        self._evaluate = ConstraintsFunc(self._model, {'flops': '100%'}, self._picture)

    def draw(self, _: np.random.Generator) -> dict[str, Any]:
        """Draw a sample; it is the active one then."""
        sample: dict[str, Any] = self._modelopt.sample(self._model)
        return sample

    def cost(self, _: dict[str, Any]) -> Any:
        """MACs and parameters of the active sample."""
        return self._evaluate()[1]

    def filter(self, share: float) -> Callable[[dict[str, Any]], bool]:
        """Whether the active sample is within the range of a budget."""
        within = self._constraints(self._model, {'flops': f'{100 * share:g}%'}, self._picture)
        within.set_rel_lower_bounds(FLOOR)
        return lambda _: bool(within()[0])


def by_groups(options: argparse.Namespace) -> dict[str, list[float]]:
    """Return seconds of sampling `--samples` widths of chains, and of the MACs of as many; keys are what is plotted."""
    points: dict[str, list[float]] = {'groups': [], 'sampling': [], 'MACs': []}
    for number in options.groups:
        layers = [nn.Conv2d(3 if index == 0 else 64, 64, 3, padding=1) for index in range(number)]
        space = WidthSpace(nn.Sequential(*layers, nn.Conv2d(64, 3, 1)), example_input=(1, 3, 8, 8), verify=False)
        budget = Budget.parse('50%', space)
        widths = sample_within(space, budget, options.samples, np.random.default_rng(0), floor=FLOOR)
        sides = {
            'sampling': lambda space=space, budget=budget: sample_within(  # type: ignore[misc]
                space, budget, options.samples, np.random.default_rng(0), floor=FLOOR
            ),
            'MACs': lambda space=space, widths=widths: space.macs(widths),  # type: ignore[misc]
        }
        seconds = side_by_side(sides, options.rounds, cpu_time=options.cpu_time, warm=1)
        points['groups'].append(number)
        for name, times in seconds.items():
            points[name].append(statistics.median(times))
    return points


def by_counts(options: argparse.Namespace) -> dict[str, list[float]]:
    """Return seconds of sampling some numbers of widths of the first network."""
    name = options.models[0]
    space = WidthSpace(getattr(torchvision.models, name), example_input=(1, 3, SIZE, SIZE), verify=False)
    budget = Budget.parse('50%', space)
    points: dict[str, list[float]] = {'widths': [], 'sampling': []}
    for count in options.counts:
        side = {
            'ours': lambda count=count: sample_within(  # type: ignore[misc]
                space, budget, count, np.random.default_rng(0), floor=FLOOR
            )
        }
        points['widths'].append(count)
        points['sampling'].append(
            statistics.median(side_by_side(side, options.rounds, cpu_time=options.cpu_time)['ours'])
        )
    return points


def page(result: dict[str, Any], options: argparse.Namespace) -> str:
    """Return the tables, and below them why a side has a dash."""
    reasons: dict[str, None] = {}
    costs, sampling = [], []
    for name, numbers in result['models'].items():
        row: list[str] = []
        for side in ('ours', *PEERS):
            found = numbers['costs'][side]
            if isinstance(found, str):
                reasons[f'{side}, {name}: {found}'] = None
                row.append('-')
            else:
                scaled = statistics.median(found['seconds']) * options.widths / found['widths']
                times = '' if side == 'ours' else f' ({found["times as long"]:,.0f} x)'
                row.append(f'{scaled:,.2f} s{times}')
        costs.append([name, str(numbers['groups']), *row])
        for share, sides in numbers['sampling'].items():
            row = []
            for side in ('ours', *PEERS):
                found = sides[side]
                if isinstance(found, str):
                    reasons[f'{side}, {name}: {found}'] = None
                    row.append('-')
                elif found['found'] == 0:
                    reasons[f'{side}, {name} at {share} %: none of {found["drawn"]:,} draws'] = None
                    row.append('-')
                else:
                    scaled = found['seconds'] * options.samples / found['found']
                    row.append(f'{scaled:,.2f} s' if found['found'] >= options.samples else f'~{scaled:,.0f} s')
            sampling.append([name, f'{share} %', *row])
    lines = [
        as_markdown(['model', 'groups', f'costs of {options.widths:,} widths', *PEERS], costs),
        as_markdown(['model', 'budget', f'{options.samples:,} widths at 98..100 %', *PEERS], sampling),
    ]
    for kind, points in result['growth'].items():
        sizes = points[kind]
        for name in ('sampling', 'MACs'):
            if name in points and len(sizes) > 1:
                lines.append(told(f'{name} by {kind}', sizes, points[name]))
    lines += [f'-: {reason}' for reason in reasons]
    return '\n\n'.join([*lines, result['machine']])


if __name__ == '__main__':
    main()
