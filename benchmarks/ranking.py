"""How well do supernet scores rank widths? Kendall tau to networks that were trained from scratch, on real digits.

The method, in the order of the code:

1. Draw widths of a small residual network: half of them spread over all costs, half in a narrow band of MACs, where size
   alone says little.
2. Train each of them from scratch with several seeds. The means over the seeds, on test images, are the ground truth. How
   far one seed agrees with another, and half of them with the rest, gives the noise ceiling: an estimate of what a
   perfect score would reach.
3. For every sharing and every supernet seed train a supernet (the package's own min-min training) and score all widths
   (the package's own scorer) on held-out training data. Test images are not seen.
4. Compare the orders: Kendall tau-b, inside the band too, and the regret of the width with the best score. Beside them
   the same numbers for what costs nothing: sorting by MACs, parameters, or the sum of log widths.

Regret is in percentage points of accuracy. +/- is the standard deviation over supernet seeds, in the rows of the noise over
pairs of training seeds or of halves of them.

Everything runs on the CPU. Results are written as they come: a run that was killed goes on when the same command is given
again. In the output folder: ranking.md (what is printed), results.json (every number behind the tables), truth.csv (widths,
costs, accuracies), truth.jsonl and scores.jsonl (the raw records).
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import logging
import math
import os
import platform
import shutil
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

from nni_cafenet import EqualBins, Fixed, LocallyFree, WidthMutator, WidthSpace
from nni_cafenet.errors import ResumeError
from nni_cafenet.search.budget import Budget
from nni_cafenet.search.sampling import sample_within
from nni_cafenet.search.scorer import Scorer
from nni_cafenet.stages.folder import keep_settings
from nni_cafenet.supernet.data import TrainingData
from nni_cafenet.supernet.lightning_module import MinMinModule
from nni_cafenet.supernet.sharing import Sharing
from nni_cafenet.supernet.training_options import TrainingOptions
from nni_cafenet.supernet.weight_average import WeightAverage
from nni_cafenet.testing import SmallResNet, digits
from nni_cafenet.utils.files import append_line, read_jsonl, write_json, write_text
from nni_cafenet.utils.tables import as_table
from proof.figures import Floats, ceiling
from ranking_measures import COLUMNS, Truth, agreement, halves, measure, spread

WIDTH = 8  # channels of the first stage: accuracies of a larger network would all be the same
BINS = 8  # bins of every group, so that every group has a zone to be free in
TRAINING_IMAGES = 800  # of 1197: fewer images, more spread
BATCH = 64
LEARNING_RATE = 0.1
BAND = (0.36, 0.40)  # the narrow band of costs, as shares of the full network's MACs
SPREAD = (0.04, 1.0)  # costs of the other half of the widths; log-uniform
HOLDOUT = 0.25
STATISTICS_BATCHES = 10  # once over the 600 images that a supernet is trained on


@dataclass(frozen=True)
class Supernet:
    """One way to train a supernet."""

    name: str
    sharing: Sharing
    channel_sets_per_step: int
    length: int = 1  # times the number of epochs
    options: TrainingOptions = field(default_factory=TrainingOptions)
    min_ratio: float | None = None  # smallest widths that are trained; None: as small as those that are ranked


SUPERNETS = (
    Supernet('Fixed', Fixed(), channel_sets_per_step=1),
    Supernet(
        'Fixed, twice the steps', Fixed(), channel_sets_per_step=1, length=2
    ),  # as many forward passes as LocallyFree
    Supernet('LocallyFree(1)', LocallyFree(offset=1), channel_sets_per_step=2),
)


@dataclass(frozen=True)
class Variant:
    """One way to read a score from what is stored for a width: the scores of each of its channel sets."""

    name: str
    key: str
    sign: int
    first_only: bool = False

    def goodness(self, scores: dict[str, list[list[float]]]) -> Floats:
        """Return one number a width, higher is better; the best of its channel sets, or that of the leftmost one."""
        sets = [row[:1] if self.first_only else row for row in scores[self.key]]
        values = [max((self.sign * s for s in row if not math.isnan(s)), default=-math.inf) for row in sets]
        return np.array(values)


VARIANTS = (
    Variant('loss', 'loss', -1),
    Variant('loss, temperature 2', 'loss at temperature 2', -1),
    Variant('loss, temperature 3', 'loss at temperature 3', -1),
    Variant('loss, leftmost set only', 'loss', -1, first_only=True),
    Variant('loss, no re-estimation', 'loss without re-estimation', -1),
    Variant('accuracy', 'accuracy', 1),
)


def main() -> None:
    options = parse_arguments()
    folder: Path = options.output
    space, widths, truth = start(options)
    scores = train_and_score_supernets(widths, options, folder / 'scores.jsonl')
    write_truth_csv(folder / 'truth.csv', space, widths, truth)
    report(space, widths, truth, scores, options, folder)


def parse_arguments() -> argparse.Namespace:
    class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
        pass

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    add = parser.add_argument
    add('--widths', type=int, default=64, help='widths that are ranked; half spread over costs, half in a narrow band')
    add('--training-seeds', type=int, default=4, help='trainings from scratch of each width, 2 or more')
    add('--supernet-seeds', type=int, default=5, help='supernets of each sharing')
    add('--epochs', type=int, default=8, help='epochs of a training from scratch')
    add('--supernet-epochs', type=int, default=100, help='epochs of a supernet')
    add('--threads', type=int, default=1, help="torch's threads")
    add('--output', type=Path, default=Path('ranking'), help='folder for results; a run there is continued')
    parser.set_defaults(truth=None)
    return checked(parser, parser.parse_args())


# --- what levers.py and scores.py share with this script ------------------------------------------


def add_run_options(parser: argparse.ArgumentParser, *, supernets: str, output: str) -> None:
    """Add the options of a study on the widths and trainings of this script."""
    add = parser.add_argument
    add('--supernet-seeds', type=int, default=8, help=f'{supernets} (%(default)s)')
    add('--widths', type=int, default=64, help='widths that are ranked, half of them in the band (%(default)s)')
    add('--training-seeds', type=int, default=4, help='trainings from scratch of each width, 2 or more (%(default)s)')
    add('--epochs', type=int, default=8, help='epochs of a training from scratch (%(default)s)')
    add('--supernet-epochs', type=int, default=100, help='epochs of a supernet (%(default)s)')
    add('--truth', type=Path, help='truth.jsonl of another run with the same widths and epochs')
    add('--threads', type=int, default=1, help="torch's threads (%(default)s)")
    add('--output', type=Path, default=Path(output), help='folder for results; a run there is continued (%(default)s)')


def checked(
    parser: argparse.ArgumentParser, options: argparse.Namespace, supernet_seeds: int = 1
) -> argparse.Namespace:
    """Return the options, or exit with an error; ``supernet_seeds`` is the smallest number of them."""
    least = {'widths': 4, 'training_seeds': 2, 'epochs': 1, 'supernet_epochs': 1, 'threads': 1}
    for name, value in {**least, 'supernet_seeds': supernet_seeds}.items():
        if getattr(options, name) < value:
            parser.error(f'--{name.replace("_", "-")} {getattr(options, name)}: give {value} or more')
    if options.truth is not None and not options.truth.is_file():
        parser.error(f'--truth {options.truth}: is no file')
    return options


def start(
    options: argparse.Namespace,
) -> tuple[WidthSpace, list[dict[str, int]], dict[tuple[int, int], dict[str, float]]]:
    """Begin or continue a run in its folder; return the space, the widths, and their trainings from scratch."""
    torch.set_num_threads(options.threads)
    for name in ('pytorch_lightning', 'lightning.pytorch', 'lightning_fabric', 'nni', 'nni_cafenet'):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings('ignore')
    space = make_space(seed=0)
    widths = draw_widths(space, options.widths, np.random.default_rng(0))
    try:
        keep_settings(options.output / 'run.json', settings_of(options, space, widths))
    except ResumeError as error:
        raise SystemExit(str(error)) from None
    path = options.output / 'truth.jsonl'
    if options.truth is not None and not path.exists():
        shutil.copyfile(options.truth, path)
    return space, widths, train_all_from_scratch(space, widths, options, path)


def truth_of(
    space: WidthSpace, widths: list[dict[str, int]], trained: dict[tuple[int, int], dict[str, float]], seeds: int
) -> tuple[Truth, Floats, Floats]:
    """Return the ground truth, and accuracy and loss of all trainings, shape (widths, seeds)."""
    accuracy, loss = (
        np.array([[trained[index, seed][key] for seed in range(seeds)] for index in range(len(widths))])
        for key in ('accuracy', 'loss')
    )
    share = space.macs(np.array([list(item.values()) for item in widths])) / space.macs(space.full_widths)
    return Truth(accuracy.mean(1), loss.mean(1), (share >= BAND[0]) & (share <= BAND[1])), accuracy, loss


def settings_of(options: argparse.Namespace, space: WidthSpace, widths: list[dict[str, int]]) -> dict[str, Any]:
    """Return what makes two runs comparable. More seeds may be added to a run; nothing else may change."""
    return {
        'network': f'SmallResNet(width={WIDTH}), {BINS} bins, {space.macs(space.full_widths)} MACs',
        'epochs': [options.epochs, options.supernet_epochs],
        'data': [TRAINING_IMAGES, BATCH, HOLDOUT, STATISTICS_BATCHES],
        'widths': [list(item.values()) for item in widths],
        'scores': list(SCORES),
        'threads': options.threads,
    }


# --- the space, the data and the widths -----------------------------------------------------------


def make_space(seed: int, **options: Any) -> WidthSpace:
    """Make the space of the network, with the weights of a seed."""
    torch.manual_seed(seed)
    return WidthMutator(bins=EqualBins(BINS), **options).mutate(SmallResNet, width=WIDTH, example_input=(1, 1, 8, 8))


def training_images() -> TensorDataset:
    """Return the images that everything here is trained on: the first of the training part, which is in random order."""
    images, labels = digits('train').tensors
    return TensorDataset(images[:TRAINING_IMAGES], labels[:TRAINING_IMAGES])


def draw_widths(space: WidthSpace, count: int, rng: np.random.Generator) -> list[dict[str, int]]:
    """Draw distinct widths: the first half spread over costs, the others in the narrow band."""
    spread = count // 2
    drawn: list[dict[str, int]] = []
    for share in np.geomspace(*SPREAD, spread):
        budget = Budget.parse(f'{100 * share:.2f}%', space)
        rows = sample_within(space, budget, 8, rng, floor=0.95)
        drawn.append(next(w for w in map(space.to_widths, rows) if w not in drawn))
    band = Budget.parse(f'{100 * BAND[1]:.2f}%', space)
    rows = sample_within(space, band, 2 * count, rng, floor=BAND[0] / BAND[1])
    drawn += [w for w in map(space.to_widths, rows) if w not in drawn][: count - spread]
    return drawn


# --- ground truth ---------------------------------------------------------------------------------


def train_all_from_scratch(
    space: WidthSpace, widths: list[dict[str, int]], options: argparse.Namespace, path: Path
) -> dict[tuple[int, int], dict[str, float]]:
    """Return ``{(width, seed): {'accuracy': ..., 'loss': ..., 'seconds': ...}}`` on the test images."""
    records = {(r['width'], r['seed']): r for r in (read_jsonl(path) if path.exists() else [])}
    jobs = list(itertools.product(range(len(widths)), range(options.training_seeds)))
    for index, seed in tqdm(jobs, desc='Trainings from scratch', mininterval=2):
        if (index, seed) not in records:
            start = time.perf_counter()
            accuracy, loss = train_from_scratch(space, widths[index], seed, options.epochs)
            seconds = time.perf_counter() - start
            record = {'width': index, 'seed': seed, 'accuracy': accuracy, 'loss': loss, 'seconds': seconds}
            append_line(path, json.dumps(record))
            records[index, seed] = record
    return {job: records[job] for job in jobs}


def train_from_scratch(space: WidthSpace, widths: dict[str, int], seed: int, epochs: int) -> tuple[float, float]:
    """Train the slim model from fresh weights; return accuracy and loss on the test images."""
    torch.manual_seed(seed)
    model = space.slim(widths, weights=False)
    images, labels = training_images().tensors
    optimizer, schedule = recipe(model, epochs * math.ceil(len(images) / BATCH))
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    images, labels = digits('test').tensors
    with torch.no_grad():
        output = model(images)
    return float(accuracy_of(output, labels)), float(cross_entropy(output, labels))


def recipe(model: nn.Module, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Make the optimizer and the schedule of every training here, of supernets too."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=5e-4)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)


def accuracy_of(output: Tensor, labels: Tensor) -> Tensor:
    return (output.argmax(1) == labels).float().mean()


# --- supernets ------------------------------------------------------------------------------------


class DigitsModule(LightningModule):
    """What a user of the package would write."""

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.model(x)
        return output

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log('val_acc', accuracy_of(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer, schedule = recipe(self, int(self.trainer.estimated_stepping_batches))
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}


def train_and_score_supernets(
    widths: list[dict[str, int]], options: argparse.Namespace, path: Path
) -> dict[tuple[str, int], dict[str, Any]]:
    """Return ``{(supernet, seed): {'scores': {name: scores of each channel set of each width}, ...}}``."""
    records = {(r['supernet'], r['seed']): r for r in (read_jsonl(path) if path.exists() else [])}
    jobs = list(itertools.product(range(options.supernet_seeds), SUPERNETS))
    for seed, supernet in tqdm(jobs, desc='Supernets'):
        if (supernet.name, seed) not in records:
            start = time.perf_counter()
            module, data = train_supernet(supernet, seed, options.supernet_epochs)
            trained = time.perf_counter()
            scores = {name: score_all(module, data, supernet, seed, widths, name) for name in SCORES}
            record = {
                'supernet': supernet.name,
                'seed': seed,
                'training_seconds': trained - start,
                'scoring_seconds': time.perf_counter() - trained,
                'scores': scores,
            }
            append_line(path, json.dumps(record))
            records[supernet.name, seed] = record
    return {(supernet.name, seed): records[supernet.name, seed] for seed, supernet in jobs}


def train_supernet(supernet: Supernet, seed: int, epochs: int) -> tuple[MinMinModule, TrainingData]:
    """Train a supernet. The seed sets weights, cut of the data, batches, widths and channel sets."""
    space = make_space(seed) if supernet.min_ratio is None else make_space(seed, min_ratio=supernet.min_ratio)
    decay = supernet.options.ema
    trainer = pl.Trainer(
        max_epochs=supernet.length * epochs,
        callbacks=[] if decay is None else [WeightAverage(decay)],
        accelerator='cpu',
        devices=1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(training_images(), batch_size=BATCH, shuffle=True)
    data = TrainingData(loader, holdout=HOLDOUT, seed=seed, epoch=lambda: trainer.current_epoch)
    module = MinMinModule(
        DigitsModule(),
        sharing=supernet.sharing,
        channel_sets_per_step=supernet.channel_sets_per_step,
        seed=seed,
        options=supernet.options,
    )
    module.set_model(space)
    trainer.fit(module, data.train)
    return module, data


SCORES: dict[str, tuple[str, bool, float]] = {
    'loss': ('loss', True, 1),
    'loss at temperature 2': ('loss', True, 2),
    'loss at temperature 3': ('loss', True, 3),
    'loss without re-estimation': ('loss', False, 1),
    'accuracy': ('val_acc', True, 1),
}
"""Names of scores: the scorer's own name, whether running statistics are re-estimated, and the temperature."""


def score_all(
    module: MinMinModule, data: TrainingData, supernet: Supernet, seed: int, widths: list[dict[str, int]], name: str
) -> list[list[float]]:
    """Score widths by the package's scorer; for each the scores of its channel sets, the leftmost one first."""
    score, estimate, temperature = SCORES[name]
    scorer = Scorer(
        module,
        sharing=supernet.sharing,
        heldout=list(data.heldout),
        statistics=data.batches(STATISTICS_BATCHES) if estimate else [],
        score=score,
        temperature=temperature,
        channel_sets_per_step=supernet.channel_sets_per_step,
        seed=seed,
        context=module.trainer.precision_plugin.forward_context,
    )
    return [list(scorer.score(item).scores) for item in widths]


# --- comparison -----------------------------------------------------------------------------------


def report(
    space: WidthSpace,
    widths: list[dict[str, int]],
    records: dict[tuple[int, int], dict[str, float]],
    scores: dict[tuple[str, int], dict[str, Any]],
    options: argparse.Namespace,
    folder: Path,
) -> None:
    """Print the tables, and write them and the numbers behind them."""
    truth, accuracy, loss = truth_of(space, widths, records, options.training_seeds)
    array = np.array([list(item.values()) for item in widths])
    macs = space.macs(array)
    share = macs / space.macs(space.full_widths)

    results: dict[str, dict[str, list[float]]] = {}
    for supernet in SUPERNETS:
        for variant in VARIANTS:
            if variant.first_only and supernet.channel_sets_per_step == 1:
                continue
            goods = [variant.goodness(scores[supernet.name, s]['scores']) for s in range(options.supernet_seeds)]
            results[f'{supernet.name}: {variant.name}'] = measure(goods, truth)
    results['MACs alone'] = measure([macs.astype(float)], truth)
    results['parameters alone'] = measure([space.params(array).astype(float)], truth)
    results['sum of log widths'] = measure([np.log(array).sum(1)], truth)
    ones = [([i], [j]) for i, j in itertools.combinations(range(options.training_seeds), 2)]
    results['noise: one training seed, another'] = agreement(ones, accuracy, loss, truth.band)
    half = results['noise: half of the training seeds, the rest'] = agreement(
        halves(options.training_seeds), accuracy, loss, truth.band
    )
    results['noise: a perfect score, estimated'] = {
        column: [ceiling(float(np.mean(values)))] if column.startswith('tau') else [] for column, values in half.items()
    }

    headers = ['order by', *COLUMNS]
    table = as_table(headers, [[name, *(spread(row[c]) for c in COLUMNS)] for name, row in results.items()])
    pairs_table = as_table(['LocallyFree(1) minus', *COLUMNS], list(differences(results)))
    text = '\n\n'.join(
        [describe(space, share, truth, records, scores, options), table, 'The same seeds in pairs:', pairs_table]
    )
    write_json(folder / 'results.json', results)
    write_text(folder / 'ranking.md', f'{text}\n')
    print(text)


def differences(results: dict[str, dict[str, list[float]]]) -> Iterator[list[str]]:
    """Yield rows of LocallyFree minus another supernet, of the same seeds and variant."""
    for supernet in SUPERNETS[:2]:
        for variant in VARIANTS:
            if variant.first_only:
                continue
            free, other = results[f'LocallyFree(1): {variant.name}'], results[f'{supernet.name}: {variant.name}']
            cells = [spread([a - b for a, b in zip(free[column], other[column])], sign='+') for column in COLUMNS]
            yield [f'{supernet.name}: {variant.name}', *cells]


def describe(
    space: WidthSpace,
    share: Floats,
    truth: Truth,
    records: dict[tuple[int, int], dict[str, float]],
    scores: dict[tuple[str, int], dict[str, Any]],
    options: argparse.Namespace,
) -> str:
    """Return what was measured, in a few lines."""
    scratch = sum(record['seconds'] for record in records.values())
    training = sum(record['training_seconds'] for record in scores.values())
    scoring = sum(record['scoring_seconds'] for record in scores.values())

    def minutes(*seconds: float) -> str:
        return f'{sum(seconds) / 60:.1f}'

    def span(values: Floats) -> str:
        return f'{100 * values.min():.1f} to {100 * values.max():.1f} %'

    lines = [
        f'{platform.machine()}, {os.cpu_count()} cores, {options.threads} thread(s), Python {platform.python_version()}, '
        f'torch {torch.__version__}',
        f'SmallResNet(width={WIDTH}): {space.describe()}',
        f'{len(share)} widths, {span(share)} of the full MACs, of which {int(truth.band.sum())} in the band of '
        f'{100 * BAND[0]:.0f} to {100 * BAND[1]:.0f} %',
        f'{options.training_seeds} trainings from scratch each, {options.epochs} epochs of {TRAINING_IMAGES} images; mean '
        f'test accuracy {span(truth.accuracy)}, in the band {span(truth.accuracy[truth.band])}',
        f'{options.supernet_seeds} supernets of each kind, {options.supernet_epochs} epochs of '
        f'{round((1 - HOLDOUT) * TRAINING_IMAGES)} images, scored on the other {round(HOLDOUT * TRAINING_IMAGES)}',
        f'{minutes(scratch, training, scoring)} minutes: {minutes(scratch)} from scratch, {minutes(training)} supernets, '
        f'{minutes(scoring)} scores',
    ]
    return '\n'.join(f'- {line}' for line in lines)


def write_truth_csv(
    path: Path, space: WidthSpace, widths: list[dict[str, int]], records: dict[tuple[int, int], dict[str, float]]
) -> None:
    with open(path, 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['width', 'seed', 'macs', 'params', 'accuracy', 'loss', *space.labels])
        for (index, seed), record in records.items():
            item = widths[index]
            cost = [space.macs(item), space.params(item)]
            writer.writerow([index, seed, *cost, record['accuracy'], record['loss'], *item.values()])


if __name__ == '__main__':
    main()
