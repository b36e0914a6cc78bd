"""What it takes to score a width, beside the bare forwards of its slim model; and how a search grows.

Scoring (`--part scoring`). A score is 20 statistics batches, from which running statistics are re-estimated, and 4
held-out batches. The sides, in turns in one process:

- *ours*: `Scorer.score`, all of it: slicing the supernet, the forwards, the user's steps, putting everything back;
- *bare*: the forwards of the ready slim model over the same batches, normalizations in training mode on the statistics
  batches, all without gradients; how the slim model was made is not counted;
- *slim by hand*: a slim model is made, then these forwards;
- *NNI's way*: a deep copy of the space and a Lightning validate, in the same process, on the held-out batches alone, since
  NNI re-estimates nothing: its time is compared with the bare forwards of the held-out batches.

A random width is scored with two channel sets, the leftmost one and a locally free one, as `CafeNet` does by default; the
bare side then runs two slim models. All others are scored with one, and "widths an hour" are those of one set. The last
column is the largest relative difference between our score and the loss of the bare slim model: the same thing is computed.
Our score is therefore the one at temperature 1; those at the other temperatures are computed, and timed, all the same.

Growth (`--part growth`). Chains of narrow convolutions, a channel group each. What a search does besides scoring
(proposals, history on disk, costs) is timed with a score that costs nothing, for more and more candidates and for more and
more groups; a score and the bare forwards are timed for more and more groups. An exponent is the slope of a straight line
through the logarithms: 1 is linear. The points are in growth.json.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import math
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from nni.nas.evaluator.pytorch import ClassificationModule, Lightning, Trainer
from nni.nas.space import RawFormatModelSpace
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, TensorDataset
from tqdm.auto import tqdm

from nni_cafenet import EqualBins, Evolution, LocallyFree, WidthMutator, WidthSpace
from nni_cafenet.cli.quickstart import BATCH, DigitsModule
from nni_cafenet.errors import first_line
from nni_cafenet.search.budget import Budget
from nni_cafenet.search.history import History, Scored
from nni_cafenet.search.loop import search_widths
from nni_cafenet.search.scorer import Scorer
from nni_cafenet.space.bins import FlopsSensitiveBins
from nni_cafenet.supernet.lightning_module import MinMinModule
from nni_cafenet.testing import SmallResNet, digits
from nni_cafenet.utils.files import write_json, write_text
from nni_cafenet.utils.silence import suppress_training_logs
from nni_cafenet.utils.tables import as_markdown
from zoo.growth import exponent as slope_of_logarithms
from zoo.side_by_side import add_clock_options, machine, ratio, side_by_side

Batch = tuple[Tensor, Tensor]
HEADERS = [
    'network',
    'input',
    'widths',
    'bare, s',
    'ours / bare',
    'slim by hand / bare',
    "NNI's way / bare held-out",
    'ours, widths an hour',
    'difference',
]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--part', nargs='+', choices=['scoring', 'growth'], default=['scoring', 'growth'])
    parser.add_argument(
        '--models',
        nargs='+',
        default=['digits', 'resnet18:64', 'mobilenet_v2:64'],
        metavar='NAME:SIZE',
        help="torchvision's, with their pixels; 'digits': the quickstart's network and data (default: %(default)s)",
    )
    parser.add_argument('--widths', nargs='+', choices=list(WIDTHS), default=list(WIDTHS))
    parser.add_argument('--batch', type=int, default=BATCH, help='images in a batch (default: %(default)s)')
    parser.add_argument('--statistics', type=int, default=20, help='statistics batches (default: %(default)s)')
    parser.add_argument('--heldout', type=int, default=4, help='held-out batches (default: %(default)s)')
    parser.add_argument('--channels-last', action='store_true', help='the memory format of supernet and slim models')
    parser.add_argument('--amp', action='store_true', help='bfloat16 by autocast, on all sides but that of NNI')
    parser.add_argument('--candidates', type=int, nargs='+', default=[250, 500, 1000, 2000, 4000])
    parser.add_argument('--groups', type=int, nargs='+', default=[10, 30, 100, 300])
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--output', default='search', help='folder of the numbers (default: %(default)s)')
    add_clock_options(parser, rounds=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    folder = Path(options.output)
    with suppress_training_logs():
        if 'scoring' in options.part:
            report(folder / 'search', *scoring(options))
        if 'growth' in options.part:
            report(folder / 'growth', *growth(options))


def report(path: Path, records: Any, text: str) -> None:
    write_json(path.with_suffix('.json'), records)
    write_text(path.with_suffix('.md'), text + '\n')
    print(text)


# --- scoring --------------------------------------------------------------------------------------


@dataclass
class Case:
    """A supernet with its batches."""

    name: str
    space: WidthSpace
    module: ClassificationModule
    statistics: list[Batch]
    heldout: list[Batch]
    context: Callable[[], Any]

    def scorer(self, channel_sets_per_step: int, seed: int) -> Scorer:
        module = MinMinModule(
            self.module, sharing=LocallyFree(1), channel_sets_per_step=channel_sets_per_step, seed=seed
        )
        return Scorer(
            module,
            sharing=LocallyFree(1),
            heldout=self.heldout,
            statistics=self.statistics,
            temperature=1,
            channel_sets_per_step=channel_sets_per_step,
            seed=seed,
            context=self.context,
        )


def case_of(name: str, options: argparse.Namespace) -> Case:
    """A supernet as in the quickstart, or one of torchvision's on random pictures; weights are fresh."""
    torch.manual_seed(options.seed)
    count = options.batch * (options.statistics + options.heldout)
    model, _, size = name.partition(':')
    if model == 'digits':
        bins, module = FlopsSensitiveBins(min_bin=1, max_bin=4), DigitsModule(num_classes=10)
        space = WidthMutator(bins=bins).mutate(SmallResNet(width=8), example_input=(1, 1, 8, 8))
        images, labels = digits('train').tensors
        rows = torch.arange(count) % len(images)
        images, labels = images[rows], labels[rows]
    else:
        module, shape = ClassificationModule(num_classes=1000), (3, int(size), int(size))
        space = WidthMutator().mutate(torchvision.models.get_model(model, weights=None), example_input=(1, *shape))
        images, labels = torch.randn(count, *shape), torch.randint(1000, (count,))
    module.set_model(space)
    space.to(options.device)
    if options.channels_last:
        space.to(memory_format=torch.channels_last)
    batches = list(zip(images.to(options.device).split(options.batch), labels.to(options.device).split(options.batch)))

    def context() -> Any:
        kind = torch.device(options.device).type
        return torch.autocast(kind, torch.bfloat16) if options.amp else contextlib.nullcontext()

    return Case(name, space, module, batches[: options.statistics], batches[options.statistics :], context)


def _random(space: WidthSpace, rng: np.random.Generator) -> dict[str, int]:
    return {group.label: int(rng.choice(group.choices)) for group in space.groups}


WIDTHS: dict[str, Callable[[WidthSpace, np.random.Generator], dict[str, int]]] = {
    'full': lambda space, rng: space.full_widths,
    'half': lambda space, rng: space.uniform_widths(0.5),
    'quarter': lambda space, rng: space.uniform_widths(0.25),
    'random, 2 sets': _random,
}


def scoring(options: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    records = []
    with tqdm(total=len(options.models) * len(options.widths), desc='Scoring', unit='width') as bar:
        for name in options.models:
            case = case_of(name, options)
            for kind in options.widths:
                bar.set_postfix_str(f'{name}, {kind}')
                records.append(measured(case, kind, options))
                bar.update()
    lines = [as_markdown(HEADERS, [cells(record) for record in records], align='lllrrrrrr'), '']
    lines += [f"NNI's way on {record['model']}: {record['nni']}" for record in records if record['nni']]
    form = ', channels last' * options.channels_last + ', bfloat16 by autocast' * options.amp
    lines.append(
        f'{machine(options.device)}; {options.statistics} statistics batches and {options.heldout} held-out batches of '
        f'{options.batch} images{form}; medians of {options.rounds} rounds'
        f'{", processor time" if options.cpu_time else ""}.'
    )
    return records, '\n'.join(lines)


def measured(case: Case, kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time all sides on one width."""
    widths = WIDTHS[kind](case.space, np.random.default_rng(options.seed))
    scorer = case.scorer(2 if '2 sets' in kind else 1, options.seed)
    sets = scorer._channel_sets(widths)
    slims = [slim_of(case, widths, each, options) for each in sets]
    losses = [bare(slim, case, case.statistics) for slim in slims]
    theirs, ours = min(losses), scorer.score(widths).score
    sides: dict[str, Callable[[], Any]] = {
        'bare': lambda: [bare(slim, case, case.statistics) for slim in slims],
        'ours': lambda: scorer.score(widths),
        'by hand': lambda: [bare(slim_of(case, widths, each, options), case, case.statistics) for each in sets],
        'bare held-out': lambda: bare(slims[0], case, []),
    }
    nni, reason = validation(case, widths, options), ''
    try:
        nni()
        sides['nni'] = nni
    except Exception as error:  # noqa: BLE001 whatever a peer raises is told below the table
        reason = f'{type(error).__name__}: {first_line(error)}'
    seconds = side_by_side(sides, options.rounds, cpu_time=options.cpu_time, warm=1)
    return {
        'model': case.name,
        'shape': list(case.heldout[0][0].shape),
        'kind': kind,
        'sets': len(sets),
        'widths': widths,
        'seconds': seconds,
        'difference': abs(ours - theirs) / abs(theirs),
        'nni': reason,
    }


def cells(record: Mapping[str, Any]) -> list[Any]:
    seconds = record['seconds']
    batch, *shape = record['shape']
    return [
        record['model'].partition(':')[0],
        f'{batch} x ' + ' x '.join(map(str, shape[1:])),
        record['kind'],
        f'{statistics.median(seconds["bare"]):.3f}',
        f'{ratio(seconds, "ours", "bare"):.3f}',
        f'{ratio(seconds, "by hand", "bare"):.3f}',
        f'{ratio(seconds, "nni", "bare held-out"):.2f}' if 'nni' in seconds else None,
        f'{3600 * record["sets"] / statistics.median(seconds["ours"]):,.0f}',
        f'{record["difference"]:.0e}',
    ]


def slim_of(
    case: Case, widths: Mapping[str, int], sets: Mapping[str, Tensor], options: argparse.Namespace
) -> nn.Module:
    slim = case.space.slim(widths, sets)
    return slim.to(memory_format=torch.channels_last) if options.channels_last else slim


def bare(slim: nn.Module, case: Case, batches: Sequence[Batch]) -> float:
    """Run the forwards of a score on a ready slim model; return the loss of the held-out batches."""
    slim.eval()
    total = torch.zeros(())
    with torch.no_grad():
        for norm in slim.modules():
            if batches and isinstance(norm, _BatchNorm):
                norm.reset_running_stats()
                norm.momentum = None
                norm.train()
        for images, _ in batches:
            with case.context():
                slim(images)
        slim.eval()
        for images, labels in case.heldout:
            with case.context():
                total = total.to(images.device) + cross_entropy(slim(images), labels) * len(images)
    return float(total) / sum(len(images) for images, _ in case.heldout)


def validation(case: Case, widths: Mapping[str, int], options: argparse.Namespace) -> Callable[[], Any]:
    """Return NNI's way: the space is copied and frozen, and an evaluator that has only validation data validates it."""
    images, labels = (torch.cat(parts) for parts in zip(*case.heldout))
    kind = torch.device(options.device).type
    trainer = Trainer(
        accelerator='gpu' if kind == 'cuda' else kind,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = ClassificationModule(num_classes=case.module.metrics['acc'].num_classes)
    loader = DataLoader(TensorDataset(images.cpu(), labels.cpu()), batch_size=options.batch)
    evaluator = Lightning(module, trainer, val_dataloaders=loader, fit_kwargs={'verbose': False})
    return lambda: RawFormatModelSpace(copy.deepcopy(case.space), evaluator).freeze(dict(widths)).execute()


# --- growth ---------------------------------------------------------------------------------------


def chain(groups: int, width: int = 8) -> nn.Module:
    """A chain of convolutions with normalizations, each a channel group of its own."""
    layers: list[nn.Module] = []
    for index in range(groups):
        layers += [nn.Conv2d(width if index else 3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def growth(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Time all points of a curve in turns, so that a slow minute of the machine bends none."""
    cases = {groups: chain_case(groups, options) for groups in tqdm(options.groups, desc='Spaces', unit='space')}
    middle = cases.get(MIDDLE) or chain_case(MIDDLE, options)
    few = min(options.candidates)
    scores = {groups: half_scored(case, options) for groups, case in cases.items()}
    curves = {
        CANDIDATES: {number: partial(searching, middle.space, number, options.seed) for number in options.candidates},
        GROUPS.format(few): {
            groups: partial(searching, case.space, few, options.seed) for groups, case in cases.items()
        },
        SCORE: {groups: ours for groups, (ours, _) in scores.items()},
        BARE: {groups: theirs for groups, (_, theirs) in scores.items()},
    }
    sides = {f'{curve} {number}': call for curve, calls in curves.items() for number, call in calls.items()}
    with tqdm(total=(options.rounds + 1) * len(sides), desc='Growth', unit='call') as bar:

        def told(call: Callable[[], Any]) -> Callable[[], None]:
            return lambda: (call(), bar.update())[1]

        seconds = side_by_side(
            {name: told(call) for name, call in sides.items()}, options.rounds, cpu_time=options.cpu_time, warm=1
        )
    points = {
        curve: [(number, statistics.median(seconds[f'{curve} {number}'])) for number in calls]
        for curve, calls in curves.items()
    }
    exponents = {curve: exponent(line) for curve, line in points.items()}
    rows = [
        [curve, f'{line[0][0]} to {line[-1][0]}', f'{line[0][1]:.3f} to {line[-1][1]:.3f}', f'{exponents[curve]:.2f}']
        for curve, line in points.items()
    ]
    text = as_markdown(['time of', 'from, to', 's', 'exponent'], rows, align='lrrr')
    how = f'medians of {options.rounds} rounds{", processor time" if options.cpu_time else ""}'
    return {'points': points, 'exponents': exponents}, f'{text}\n\n{machine(options.device)}; {how}.'


def half_scored(case: Case, options: argparse.Namespace) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return a score at about half of all widths, and its bare forwards."""
    widths, scorer = case.space.uniform_widths(0.5), case.scorer(1, options.seed)
    slim = case.space.slim(widths)
    return partial(scorer.score, widths), partial(bare, slim, case, case.statistics)


MIDDLE = 30
CANDIDATES = f'a search of {MIDDLE} groups but its scores, over candidates'
GROUPS = 'a search of {} candidates but its scores, over groups'
SCORE = 'a score, over groups'
BARE = 'the bare forwards of that score, over groups'


def chain_case(groups: int, options: argparse.Namespace) -> Case:
    torch.manual_seed(options.seed)
    space = WidthMutator(bins=EqualBins(8)).mutate(chain(groups), example_input=(1, 3, 8, 8))
    module = ClassificationModule(num_classes=10)
    module.set_model(space)
    space.to(options.device)
    batches = [
        (torch.randn(BATCH, 3, 8, 8).to(options.device), torch.randint(10, (BATCH,)).to(options.device))
        for _ in range(options.statistics + options.heldout)
    ]
    statistics_batches, heldout = batches[: options.statistics], batches[options.statistics :]
    return Case(f'{groups} groups', space, module, statistics_batches, heldout, contextlib.nullcontext)


def searching(space: WidthSpace, candidates: int, seed: int) -> None:
    """Run a whole search with a score that costs nothing."""

    def score(batch: Sequence[Mapping[str, int]]) -> Iterator[Scored]:
        for widths in batch:
            sets = {label: list(range(width)) for label, width in widths.items()}
            yield Scored(
                dict(widths), space.macs(widths), space.params(widths), float(sum(widths.values())), sets, (0.0,)
            )

    population = max(2, min(50, candidates))
    searcher = Evolution(population=population, generations=max(1, candidates // population))
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder) / 'history.jsonl', higher_is_better=True)
        proposals = searcher.propose(space, Budget.parse('50%', space), np.random.default_rng(seed))
        search_widths(proposals, score, history, total=searcher.total, name='score', title=f'{candidates} candidates')


def exponent(line: Sequence[tuple[int, float]]) -> float:
    """The exponent of the points of a curve; NaN of one point."""
    return slope_of_logarithms(*zip(*line)) if len(line) > 1 else math.nan


if __name__ == '__main__':
    main()
