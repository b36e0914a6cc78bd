"""What is there to win by width search, and what does it take? A planning table, from your copy of Channel-Bench-Macro.

Channel-Bench-Macro (github.com/xiusu/Channel-Bench-Macro) holds CIFAR-10 accuracies of 2 x 16,384 networks: every
combination of four widths in seven layers of a MobileNet and of a ResNet, each trained three times. Download
`Results_MobileNet.json` and `Results_ResNet.json` and name them, or their folder; this script reads them and keeps nothing
of them. The files map seven digits (1 to 4: quarters of the largest width) to `acc` (one number a training), `flops` and
`params`.

A budget is what a uniformly scaled network costs, since that is what a search has to beat: those of all digits 1, 2 or 3.
Candidates are the networks that cost 95 to 100 % of it (`--floor`). For each budget:

1. Headroom: the best network in the table minus the uniform one. The best of hundreds of noisy numbers is partly luck, so
   beside it stands the real headroom: the best network, chosen by all trainings but one, measured by that one.
2. Searchers by a score that ranks the candidates with a given Kendall tau: a supernet of that quality. What the network
   with the best score wins over the uniform one, and its regret: how much the true best would win in addition. Measure your
   supernet's tau by benchmarks/ranking.py; tau inside a band of equal MACs is the one that counts here.
3. Short trainings: the best of n networks, the uniform one among them, by one training each.
4. The hybrid: the networks with the best scores and the uniform one are trained once, the best of these is taken.
5. For each tau, how many trainings find as much as the searcher: below that number train networks, above it train a
   supernet.

The model behind 2 to 5: the true accuracy of a candidate is drawn from what its trainings leave open (normal, the spread
between networks and the noise of a training estimated in the band: empirical Bayes); a training adds the noise of a
training, a score the noise that brings its tau to the given value. All differences are in percentage points; ± is the
standard deviation over repeats, which is what one search may see.

`channel_bench_macro.md` has the tables, `channel_bench_macro.json` all numbers. No GPU, about a minute.

examples:
  python benchmarks/channel_bench_macro.py Channel-Bench-Macro/ --output planning
  python benchmarks/channel_bench_macro.py Results_ResNet.json --floor 0.9 --candidates 200 --output planning
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from nni_cafenet.utils.files import write_json, write_text
from nni_cafenet.utils.tables import as_markdown

Floats = NDArray[np.float64]

FILES = ('Results_MobileNet.json', 'Results_ResNet.json')
TAUS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
TRAININGS = (2, 4, 8, 16, 24, 48, 96)
FINALISTS = (4, 8)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    tables = [read_table(path) for path in options.files]
    plans = [plan for table in tables for plan in plans_of(table, options)]
    text = page(tables, plans, options)
    write_json(options.output / 'channel_bench_macro.json', [asdict(plan) for plan in plans])
    write_text(options.output / 'channel_bench_macro.md', text)
    print(text, end='')


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('tables', nargs='+', type=Path, metavar='PATH', help=f'{FILES[0]}, {FILES[1]}, or the folder that holds them')
    add('--floor', type=float, default=0.95, help='least share of the budget that a candidate costs (%(default)s)')
    add('--candidates', type=int, default=800, help='widths that a searcher scores, at most (%(default)s, as CafeNet)')
    add('--repeats', type=int, default=1000, help='simulated searches of each kind (%(default)s)')
    add('--seed', type=int, default=0)
    add('--output', type=Path, default=Path('planning'), help='folder for the tables (%(default)s)')
    options = parser.parse_args(arguments)
    if not 0 <= options.floor < 1:
        parser.error(f'--floor {options.floor}: give a share of the budget, from 0 to below 1')
    for name in ('candidates', 'repeats'):
        if getattr(options, name) < 2:
            parser.error(f'--{name} {getattr(options, name)}: give 2 or more')
    options.files = []
    for path in options.tables:
        found = [path / name for name in FILES if (path / name).is_file()] if path.is_dir() else [path]
        if not found or not all(each.is_file() for each in found):
            parser.error(
                f'{path}: no such file, or no {FILES[0]} or {FILES[1]} in it; see --help for where they are from'
            )
        options.files += found
    return options


# --- the tables -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """The networks of one file: widths in quarters (N, 7), accuracies in percent (N, trainings), costs (N,)."""

    name: str
    widths: NDArray[np.int64]
    accuracy: Floats
    macs: Floats
    params: Floats

    def uniform(self, quarters: int) -> int | None:
        """Return the row of the uniformly scaled network; None where the table has none."""
        rows = np.flatnonzero((self.widths == quarters).all(1))
        return int(rows[0]) if len(rows) else None


def read_table(path: Path) -> Table:
    """Read one file; SystemExit with its name and the entry if it is of another format."""
    try:
        records = json.loads(path.read_text(encoding='utf-8'))
        items = list(records.items())
        wrong = [key for key, _ in items if not re.fullmatch('[1-4]{7}', key)]
        if wrong:
            raise ValueError(f'key {wrong[0]!r} is not seven digits from 1 to 4')
        accuracy = np.array([record['acc'] for _, record in items], np.float64)
        macs = np.array([record['flops'] for _, record in items], np.float64)
        params = np.array([record['params'] for _, record in items], np.float64)
        if accuracy.ndim != 2 or accuracy.shape[1] < 2 or not np.isfinite(accuracy).all() or not (macs > 0).all():
            raise ValueError('every entry needs two or more accuracies, as many as the others, and flops above 0')
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise SystemExit(f'{path}: is no table of Channel-Bench-Macro ({type(error).__name__}: {error})') from None
    widths = np.array([list(map(int, key)) for key, _ in items], np.int64)
    scale = 100 if accuracy.max() <= 1 else 1
    return Table(path.stem.removeprefix('Results_'), widths, scale * accuracy, macs, params)


# --- one budget -----------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What one way to choose wins over the uniform network, in points; its spread over searches, and its regret."""

    gain: float
    spread: float
    regret: float
    better: float


@dataclass
class Plan:
    """All that is found for one network and budget."""

    network: str
    budget: float
    share: float
    candidates: int
    uniform: float
    headroom: float
    real_headroom: float
    best_possible: float
    between: float
    noise: float
    ceiling: float
    searchers: dict[float, Outcome] = field(default_factory=dict)
    trainings: dict[int, Outcome] = field(default_factory=dict)
    hybrids: dict[str, Outcome] = field(default_factory=dict)
    as_trainings: dict[float, float] = field(default_factory=dict)


def plans_of(table: Table, options: argparse.Namespace) -> Iterator[Plan]:
    """Yield a plan for each uniform network of a table but the largest."""
    for quarters in (1, 2, 3):
        uniform = table.uniform(quarters)
        if uniform is None:
            continue
        budget = table.macs[uniform]
        band = np.flatnonzero((table.macs <= budget) & (table.macs >= options.floor * budget))
        band = band[band != uniform]
        if len(band) >= 2:
            yield plan_of(table, uniform, band, options)


def plan_of(table: Table, uniform: int, band: NDArray[np.int64], options: argparse.Namespace) -> Plan:
    rng = np.random.default_rng(options.seed)
    accuracy, plain = table.accuracy[band], float(table.accuracy[uniform].mean())
    means, count = accuracy.mean(1), accuracy.shape[1]
    noise = float(np.sqrt(accuracy.var(1, ddof=1).mean()))
    between = float(np.sqrt(max(means.var(ddof=1) - noise**2 / count, 0)))
    kept = between**2 / (between**2 + noise**2 / count) if between else 0.0
    left_open = np.sqrt(between**2 * (1 - kept))

    def truths() -> Floats:
        """Draw (repeats, candidates) true accuracies above the uniform network's, of candidates drawn at random."""
        size = min(options.candidates, len(band))
        rows = np.stack([rng.permutation(len(band))[:size] for _ in range(options.repeats)])
        expected = means.mean() + kept * (means[rows] - means.mean())
        drawn: Floats = expected + left_open * rng.standard_normal(rows.shape) - plain
        return drawn

    truth = truths()
    some = truth[:8]
    by_table = [tau(t, t + noise / np.sqrt(count) * rng.standard_normal(len(t))) for t in some]
    plan = Plan(
        network=table.name,
        budget=float(table.macs[uniform]),
        share=float(table.macs[uniform] / table.macs.max()),
        candidates=len(band),
        uniform=plain,
        headroom=float(means.max() - plain),
        real_headroom=real_headroom(accuracy) - plain,
        best_possible=float(truth.max(1).mean()),
        between=between,
        noise=noise,
        ceiling=float(np.mean(by_table)),
    )
    for wanted in TAUS:
        scores = truth + noise_for(some, wanted, rng) * rng.standard_normal(truth.shape)
        plan.searchers[wanted] = outcome(truth, at(truth, scores.argmax(1)))
        for finalists in FINALISTS:
            chosen = np.argsort(-scores, axis=1)[:, :finalists]
            plan.hybrids[f'{wanted} {finalists}'] = outcome(truth, trained(truth, chosen, noise, rng))
    for number in TRAININGS:
        chosen = np.broadcast_to(
            np.arange(min(number - 1, truth.shape[1])), (len(truth), min(number - 1, truth.shape[1]))
        )
        plan.trainings[number] = outcome(truth, trained(truth, chosen, noise, rng))
    gains = [0.0, *(each.gain for each in plan.trainings.values())]
    for wanted, each in plan.searchers.items():
        plan.as_trainings[wanted] = trainings_for(each.gain, [1, *plan.trainings], gains)
    return plan


def real_headroom(accuracy: Floats) -> float:
    """Return the accuracy, by one training, of the network that is the best by all others; the mean over trainings."""
    total, count = accuracy.sum(1), accuracy.shape[1]
    return float(np.mean([accuracy[(total - accuracy[:, i]).argmax(), i] for i in range(count)]))


def at(values: Floats, columns: NDArray[np.int64]) -> Floats:
    """Return one entry of every row."""
    picked: Floats = np.take_along_axis(values, columns[:, None], 1)[:, 0]
    return picked


def trained(truth: Floats, chosen: NDArray[np.int64], noise: float, rng: np.random.Generator) -> Floats:
    """Train networks once, and the uniform one; return what the best of them by these trainings really has."""
    gains = np.concatenate([np.zeros((len(truth), 1)), np.take_along_axis(truth, chosen, 1)], axis=1)
    return at(gains, (gains + noise * rng.standard_normal(gains.shape)).argmax(1))


def outcome(truth: Floats, gains: Floats) -> Outcome:
    best = np.maximum(truth.max(1), 0)
    return Outcome(*(float(each) for each in (gains.mean(), gains.std(), (best - gains).mean(), (gains > 0).mean())))


def noise_for(truth: Floats, wanted: float, rng: np.random.Generator) -> float:
    """Return the standard deviation of the noise with which scores have a tau, by bisection on the same draws."""
    if wanted >= 1 or truth.std() == 0:
        return 0.0
    if wanted <= 0:
        return 1e6 * float(truth.std() + 1)
    drawn = rng.standard_normal(truth.shape)
    low, high = -4.0, 4.0  # powers of ten of the spread of the truth
    for _ in range(24):
        middle = (low + high) / 2
        scores = truth + 10**middle * truth.std() * drawn
        reached = float(np.mean([tau(a, b) for a, b in zip(truth, scores)]))
        low, high = (middle, high) if reached > wanted else (low, middle)
    return float(10**low * truth.std())


def tau(a: Floats, b: Floats) -> float:
    """Kendall tau-b."""
    return float(kendalltau(a, b).statistic)


def trainings_for(gain: float, numbers: Sequence[int], gains: Sequence[float]) -> float:
    """Return how many trainings win as much, interpolated; infinity where the most do not."""
    rising = np.maximum.accumulate(gains)
    if gain > rising[-1]:
        return float('inf')
    first = int(np.argmax(rising >= gain))
    if first == 0:
        return 1.0
    part = (gain - rising[first - 1]) / (rising[first] - rising[first - 1])
    return float(numbers[first - 1] + part * (numbers[first] - numbers[first - 1]))


# --- the page -------------------------------------------------------------------------------------


def page(tables: Sequence[Table], plans: Sequence[Plan], options: argparse.Namespace) -> str:
    """Return all tables."""
    facts = [f'{each.name}: {len(each.widths):,} networks, {each.accuracy.shape[1]} trainings each' for each in tables]
    searches = f'{options.repeats} simulated searches of at most {options.candidates} candidates each'
    return '\n\n'.join(
        [
            '# What width search can win: Channel-Bench-Macro',
            f'{"; ".join(facts)}. Differences to the uniform network, in points; candidates cost '
            f'{100 * options.floor:g} to 100 % of the budget; {searches}.',
            '## Size alone\n\nKendall tau over all networks: what a score has to beat.',
            as_markdown(['network', 'MACs', 'parameters', 'sum of log widths'], [size_row(each) for each in tables]),
            '## Headroom',
            as_markdown(HEADROOM, [headroom_row(plan) for plan in plans]),
            '"best in the table" is partly luck; "real" chooses by all trainings but one and measures by that one. "best '
            'possible" is what a perfect score wins. "ceiling" is the tau of the table itself to the true accuracies.',
            '## Planning: a score of some tau, and the trainings that win as much',
            as_markdown(PLANNING, [row for plan in plans for row in planning_rows(plan)]),
            '"as many trainings" is the number of networks, trained once each, of which the best wins as much as '
            'the network with the best score. The last columns train the best 4 or 8 and the uniform network.',
            '## Best of n trainings, the uniform network among them',
            as_markdown(['network', '% of MACs', *(f'n = {n}' for n in TRAININGS)], [trainings_row(p) for p in plans]),
            READING,
        ]
    )


READING = """\
## How to read it

- Find the row of the network that resembles yours, and the column of your budget.
- Measure the tau of your supernet inside a band of equal MACs (benchmarks/ranking.py), or be humble: 0.2 to 0.4.
- If "as many trainings" is a number that you can afford, use `ShortTrainings`. A supernet pays off where it is larger, or
  where one supernet serves several budgets.
- Where a score is poor, a few finalists that are really trained win more than a better score.
- Where the real headroom is below the noise of a training, keep the uniform network.
"""

PLANNING = [
    'network', '% of MACs', 'tau', 'wins', 'regret', 'better than uniform', 'as many trainings',
    *(f'wins with {n} finalists' for n in FINALISTS),
]  # fmt: skip

HEADROOM = [
    'network', '% of MACs', 'candidates', 'uniform, %', 'best in the table', 'real', 'best possible',
    'spread of networks', 'noise of a training', 'ceiling',
]  # fmt: skip


def size_row(table: Table) -> list[str]:
    truth = table.accuracy.mean(1)
    orders = (table.macs, table.params, np.log(table.widths).sum(1))
    return [table.name, *(f'{tau(order, truth):.3f}' for order in orders)]


def headroom_row(plan: Plan) -> list[str]:
    points = (plan.headroom, plan.real_headroom, plan.best_possible)
    return [
        *title(plan), f'{plan.candidates:,}', f'{plan.uniform:.2f}', *(f'{each:+.2f}' for each in points),
        f'{plan.between:.2f}', f'{plan.noise:.2f}', f'{plan.ceiling:.2f}',
    ]  # fmt: skip


def title(plan: Plan) -> list[str]:
    return [plan.network, f'{100 * plan.share:.0f}']


def planning_rows(plan: Plan) -> Iterator[list[str]]:
    """Yield a row a tau: what the searcher wins, its regret, how many trainings win as much, and what finalists add."""
    for wanted, found in plan.searchers.items():
        many = plan.as_trainings[wanted]
        yield [
            *title(plan), f'{wanted:g}', shown(found), f'{found.regret:.2f}', f'{100 * found.better:.0f} %',
            f'more than {TRAININGS[-1]}' if many == float('inf') else f'{many:.0f}',
            *(shown(plan.hybrids[f'{wanted} {finalists}']) for finalists in FINALISTS),
        ]  # fmt: skip


def trainings_row(plan: Plan) -> list[str]:
    return [*title(plan), *map(shown, plan.trainings.values())]


def shown(found: Outcome) -> str:
    return f'{found.gain:+.2f} ± {found.spread:.2f}'


if __name__ == '__main__':
    main()
