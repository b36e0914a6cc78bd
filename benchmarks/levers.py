"""What each way to train a supernet does for its ranking: Kendall tau on digits, at temperatures 1, 2 and 3, over seeds.

Network, widths, trainings from scratch and supernets are those of benchmarks/ranking.py; see its --help for the method. A
lever changes one thing of the package's default (locally free sharing, two channel sets and one uniform width a step, the
smaller loss alone):

  locally free            the default
  prefix                  the leftmost channels, one channel set a step
  bilateral               the leftmost or the rightmost channels
  bilateral locally free  a free zone at either end
  one set                 one channel set a step
  2 widths, 4 widths      widths a step, on the same batch
  sandwich                the full network, the smallest one and two widths between
  distilled, alpha        the same, and the others learn the outputs of the full network (KL; alpha-divergence)
  near the budget         half of the widths within the band of costs that is searched
  all costs               all bins of MACs equally often
  mean, soft minimum      of the losses of both channel sets
  ema                     scores on a moving average of the weights (decay 0.99)
  no smallest widths      widths below a third are not trained

Numbers: tau to the mean loss and the mean accuracy of the trainings, inside the band of equal MACs at temperatures 1, 2
and 3, and over all widths at 2; regret in the band, in points; processor time of training beside the default's. Mean ±
standard deviation over supernet seeds. The second table has the differences to the default with the same seeds, their 95 %
t-interval, and how many are above 0: a lever is worth its cost where the interval is.

Everything runs on the CPU, and records are written as they come: a run that was killed continues when the same command is
given again, and more seeds or levers may be added. `--truth` takes the truth.jsonl of a run of benchmarks/ranking.py with
the same numbers of widths and epochs, or of another run of this script. In the output folder: levers.md, levers.json,
truth.jsonl and scores.jsonl.

examples:
  python benchmarks/levers.py --output levers --supernet-seeds 8
  python benchmarks/levers.py --output levers --levers bilateral 'bilateral locally free' --truth ranking/truth.jsonl
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from tqdm import tqdm

import ranking
from nni_cafenet import (
    Bilateral,
    CostBins,
    Fixed,
    LocallyFree,
    NearBudget,
    Sandwich,
    SoftMin,
    UniformWidths,
    WidthSpace,
)
from nni_cafenet.search.scorer import Scorer
from nni_cafenet.supernet.combination import Mean
from nni_cafenet.supernet.divergence import AlphaDivergence, KLDivergence
from nni_cafenet.supernet.training_options import TrainingOptions
from nni_cafenet.utils.files import append_line, read_jsonl, write_json, write_text
from nni_cafenet.utils.tables import as_table
from proof.figures import Floats, tau
from ranking import BAND, Supernet
from ranking_measures import Truth, regret, spread

BASE = 'locally free'
TEMPERATURES = (1.0, 2.0, 3.0)

_FREE = LocallyFree(offset=1)


def _lever(
    name: str, sharing: Any = _FREE, channel_sets_per_step: int = 2, min_ratio: float | None = None, **options: Any
) -> Supernet:
    return Supernet(name, sharing, channel_sets_per_step, options=TrainingOptions(**options), min_ratio=min_ratio)


LEVERS = {
    lever.name: lever
    for lever in (
        _lever(BASE),
        _lever('prefix', Fixed(), 1),
        _lever('bilateral', Bilateral()),
        _lever('bilateral locally free', Bilateral(_FREE)),
        _lever('one set', channel_sets_per_step=1),
        _lever('2 widths', sampling=UniformWidths(2)),
        _lever('4 widths', sampling=UniformWidths(4)),
        _lever('sandwich', sampling=Sandwich()),
        _lever('distilled', sampling=Sandwich(), distill=KLDivergence()),
        _lever('alpha', sampling=Sandwich(), distill=AlphaDivergence()),
        _lever('near the budget', sampling=NearBudget(floor=BAND[0] / BAND[1], budget=f'{100 * BAND[1]:g}%')),
        _lever('all costs', sampling=CostBins()),
        _lever('mean', combine=Mean()),
        _lever('soft minimum', combine=SoftMin(0.1)),
        _lever('ema', ema=0.99),
        _lever('no smallest widths', min_ratio=1 / 3),
    )
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    folder: Path = options.output
    space, widths, truth = ranking.start(options)
    records = train_and_score(widths, options, folder / 'scores.jsonl')
    page = report(space, widths, truth, records, options, folder)
    write_text(folder / 'levers.md', page)
    print(page, end='')


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        '--levers',
        nargs='+',
        default=list(LEVERS),
        metavar='NAME',
        help='some of them (default: all); the default is added',
    )
    ranking.add_run_options(parser, supernets='supernets of each lever', output='levers')
    options = parser.parse_args(arguments)
    unknown = [name for name in options.levers if name not in LEVERS]
    if unknown:
        parser.error(f'--levers {unknown[0]!r}: is no lever; choose of {", ".join(map(repr, LEVERS))}')
    options.levers = list(dict.fromkeys([BASE, *options.levers]))
    return ranking.checked(parser, options)


def train_and_score(
    widths: list[dict[str, int]], options: argparse.Namespace, path: Path
) -> dict[tuple[str, int], dict[str, Any]]:
    """Return ``{(lever, seed): {'scores': {temperature: scores of all widths}, 'seconds': of training}}``."""
    records = {(r['lever'], r['seed']): r for r in (read_jsonl(path) if path.exists() else [])}
    jobs = list(itertools.product(options.levers, range(options.supernet_seeds)))
    for name, seed in tqdm(sorted(jobs, key=lambda job: job[1]), desc='Supernets'):
        if (name, seed) in records:
            continue
        start = time.process_time()
        module, data = ranking.train_supernet(LEVERS[name], seed, options.supernet_epochs)
        seconds = time.process_time() - start
        scorer = Scorer(
            module,
            sharing=LEVERS[name].sharing,
            heldout=list(data.heldout),
            statistics=data.batches(ranking.STATISTICS_BATCHES),
            channel_sets_per_step=LEVERS[name].channel_sets_per_step,
            seed=seed,
            context=module.trainer.precision_plugin.forward_context,
        )
        scored = [scorer.score(item).by_temperature for item in widths]
        scores = {f'{t:g}': [each[t] for each in scored] for t in TEMPERATURES}
        records[name, seed] = {'lever': name, 'seed': seed, 'seconds': seconds, 'scores': scores}
        append_line(path, json.dumps(records[name, seed]))
    return {job: records[job] for job in jobs}


def report(
    space: WidthSpace,
    widths: list[dict[str, int]],
    trained: dict[tuple[int, int], dict[str, float]],
    records: dict[tuple[str, int], dict[str, Any]],
    options: argparse.Namespace,
    folder: Path,
) -> str:
    """Return the tables; write the numbers behind them."""
    truth, *_ = ranking.truth_of(space, widths, trained, options.training_seeds)
    seeds = range(options.supernet_seeds)
    numbers = {
        name: [numbers_of(records[name, seed], truth, records[BASE, seed]['seconds']) for seed in seeds]
        for name in options.levers
    }
    write_json(folder / 'levers.json', numbers)
    columns = list(numbers[BASE][0])
    rows = [[name, *(spread([each[c] for each in found]) for c in columns)] for name, found in numbers.items()]
    paired = [c for c in columns if c.startswith('tau')]
    differences = [
        [name, *(difference([a[c] - b[c] for a, b in zip(found, numbers[BASE])]) for c in paired)]
        for name, found in numbers.items()
        if name != BASE
    ]
    facts = (
        f'{len(widths)} widths, {int(truth.band.sum())} in the band, {options.training_seeds} trainings each; '
        f'{options.supernet_seeds} supernets of each lever, {options.supernet_epochs} epochs'
    )
    return '\n\n'.join(
        [
            facts,
            as_table(['lever', *columns], rows),
            f'Differences to {BASE!r} with the same seeds: mean, 95 % t-interval, how many are above 0.',
            as_table(['lever', *paired], differences),
            '',
        ]
    )


def numbers_of(record: dict[str, Any], truth: Truth, base_seconds: float) -> dict[str, float]:
    """Return the columns of a supernet."""
    goods: dict[float, Floats] = {t: -np.array(record['scores'][f'{t:g}'], np.float64) for t in TEMPERATURES}
    band = truth.band
    return {
        **{f'tau in band, loss, T={t:g}': tau(good[band], -truth.loss[band]) for t, good in goods.items()},
        'tau in band, accuracy, T=2': tau(goods[2.0][band], truth.accuracy[band]),
        'tau, loss, T=2': tau(goods[2.0], -truth.loss),
        'regret in band, T=2': regret(goods[2.0][band], truth.accuracy[band]),
        'time': record['seconds'] / base_seconds,
    }


def difference(values: Sequence[float]) -> str:
    """Write the mean of paired differences, its 95 % t-interval, and how many are above 0."""
    mean, count = float(np.mean(values)), len(values)
    above = f'{sum(value > 0 for value in values)}/{count}'
    if count < 2:
        return f'{mean:+.3f} ({above})'
    half = float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / np.sqrt(count))
    return f'{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}] ({above})'


if __name__ == '__main__':
    main()
