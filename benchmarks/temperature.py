"""Which temperature ranks widths best, for supernets that are trained too little, well, or too much?

Networks of `better_widths.py`, random widths of their budgets and the uniform ones. Each width is trained from scratch (the
truth), and measured on training pictures that neither trainings nor supernets nor scores see. No test picture is used, so
the package's rule may be chosen by this table. Supernets are trained by the package's default for several numbers of steps,
and score the same widths, the better of two channel sets counts, by

  T=1, 2, 3              the cross-entropy of the outputs divided by a temperature
  standardized           the outputs divided by their standard deviation over classes, for each width
  fitted                 the cross-entropy at the temperature that makes it smallest, for each width: the package's default
  1.5, 2, 3 x fitted     at that temperature times 1.5, 2 or 3: as above, the scale of a width's outputs does not count
  1, 2, 3 x fitted, one  the same from the temperature that fits the mean over all widths
  accuracy               share of pictures that are classified correctly

Numbers: Kendall tau of the scores to the loss of the truth; the regret of the best width by score, in points of its true
accuracy below that of the best of all; and the mean temperature. Mean ± standard deviation over supernet seeds. A line says
which group's width the fitted temperature follows most: weight sharing sets the scale of outputs.

Everything runs on the CPU. Results are kept as they come: a run that was killed continues when the same command is given
again. In the output folder: temperature.md (what is printed), truth.jsonl and outputs/ (the outputs of supernets).
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

from better_widths import FRONT_HEAVY, WELL_SHAPED
from nni_cafenet import LocallyFree
from nni_cafenet.search.budget import Budget
from nni_cafenet.search.scorer import Scorer
from nni_cafenet.supernet import MinMinModule
from nni_cafenet.testing import FASHION_MNIST_FOLDER
from nni_cafenet.utils.files import write_text
from nni_cafenet.utils.rng import seeded
from nni_cafenet.utils.silence import suppress_training_logs
from nni_cafenet.utils.tables import as_table
from nni_cafenet.utils.torch_files import load_torch, save_torch
from proof.arms import SILENT, random_widths
from proof.figures import Floats, mean_and_spread, tau
from proof.networks import Mobile, Staged, parse_stages
from proof.records import Records
from proof.task import BATCH, PictureModule, Task, epochs_of, evaluate, train_from_scratch, unused_pictures
from scored_outputs import scored_outputs

CHANNEL_SETS = 2
STATISTICS_BATCHES = 20
GRID = torch.logspace(-3, 5, 97, base=2.0)
"""Temperatures among which the fitted one is found."""


@dataclass(frozen=True)
class Study:
    """A network, and how long its supernets are trained: pairs of steps and training pictures (0: all)."""

    network: Staged | Mobile
    ratio: float
    size: int
    steps: int
    supernets: tuple[tuple[int, int], ...]


STUDIES = {
    'front-heavy': Study(
        Staged(parse_stages(FRONT_HEAVY)), 17 / 32, 14, 500, ((250, 0), (500, 0), (1_500, 0), (3_000, 1_000))
    ),
    'well-shaped': Study(
        Staged(parse_stages(WELL_SHAPED)), 17 / 32, 14, 500, ((250, 0), (500, 0), (1_500, 0), (3_000, 1_000))
    ),
    'mobile': Study(Mobile(), 1 / 4, 28, 750, ((750, 0), (2_250, 0))),
}


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(1)
    warnings.filterwarnings('ignore')
    page = '\n'.join(Run(name, options).page() for name in options.study)
    write_text(options.output / 'temperature.md', page)
    print(page, end='')


def parse_arguments() -> argparse.Namespace:
    class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
        pass

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter, allow_abbrev=False)
    add = parser.add_argument
    add('--study', nargs='+', choices=tuple(STUDIES), default=list(STUDIES), help='networks')
    add('--widths', type=int, default=40, help='widths beside the uniform ones')
    add('--training-seeds', type=int, default=2, help='trainings from scratch of each')
    add('--supernet-seeds', type=int, default=3, help='supernets of each length')
    add('--data', type=Path, default=FASHION_MNIST_FOLDER, help='folder of Fashion-MNIST')
    add('--output', type=Path, default=Path('temperature'), help='folder for results; a run there is continued')
    options = parser.parse_args()
    for name, least in {'widths': 4, 'training_seeds': 1, 'supernet_seeds': 1}.items():
        if getattr(options, name) < least:
            parser.error(f'--{name.replace("_", "-")} {getattr(options, name)}: give {least} or more')
    return options


class Run:
    """A study: its truth, its supernets and its table."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        study = STUDIES[name]
        self.name, self.options, self.study, self.folder = name, options, study, options.output / name
        self.task = Task(name, study.network, study.ratio, options.data, size=study.size, steps=study.steps)
        self.space = self.task.space()
        uniform = self.task.uniform_widths(self.space)
        budget = Budget.parse(self.space.macs(uniform), self.space)
        self.widths = [uniform, *random_widths(self.space, budget, options.widths, 0)]

    def truth(self) -> tuple[Floats, Floats]:
        """Return accuracy and loss (training seeds, widths) of trainings from scratch."""
        records = Records(self.folder / 'truth.jsonl', ('widths', 'seed'))
        jobs = list(itertools.product(range(self.options.training_seeds), self.widths))
        found = []
        for seed, widths in tqdm(jobs, desc=f'{self.name}, truth', mininterval=5):

            def train(widths: dict[str, int] = widths, seed: int = seed) -> dict[str, float]:
                model = train_from_scratch(self.task, self.space, widths, 1 + seed)
                accuracy, loss = evaluate(model, *unused_pictures(self.task))
                return {'accuracy': accuracy, 'loss': loss}

            found.append(records.get_or_run({'widths': list(widths.values()), 'seed': seed}, train))
        shape = self.options.training_seeds, len(self.widths)
        accuracy, loss = (np.array([each[key] for each in found]).reshape(shape) for key in ('accuracy', 'loss'))
        return accuracy, loss

    def outputs(self) -> dict[tuple[int, int], list[dict[str, Tensor]]]:
        """Return ``{(steps, pictures) of supernets: [what `outputs_of` does, for each seed]}``."""
        found: dict[tuple[int, int], list[dict[str, Tensor]]] = {length: [] for length in self.study.supernets}
        jobs = list(itertools.product(range(self.options.supernet_seeds), self.study.supernets))
        for seed, (steps, images) in tqdm(jobs, desc=f'{self.name}, supernets', mininterval=5):
            path = self.folder / 'outputs' / f'{steps}-{images}-{seed}.pt'
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                save_torch(outputs_of(self.task, steps, images, self.widths, seed), path)
            found[steps, images].append(load_torch(path, remedy='delete it'))
        return found

    def page(self) -> str:
        """Do what has not been done; return the tables."""
        accuracy, loss = self.truth()
        means = accuracy.mean(0)
        parts = [
            f'### {self.name}',
            f'{len(means)} widths, each trained {len(accuracy)} times: {means.min():.2f} to {means.max():.2f} %, '
            f'uniform {means[0]:.2f} %; {self.options.supernet_seeds} supernets of each length',
        ]
        for (steps, images), saved in self.outputs().items():
            found = [measures(each['outputs'].float(), each['labels'], means, loss.mean(0)) for each in saved]
            rows = [[name, *map(mean_and_spread, zip(*(each[name] for each in found)))] for name in found[0]]
            of = f' on {images:,} pictures' if images else ''
            table = as_table(['score', 'tau to loss', 'regret (points)', 'temperature'], rows)
            parts += [f'Supernets of {steps:,} steps{of}:', table, self.scale(saved)]
        return '\n\n'.join(parts) + '\n'

    def scale(self, saved: Sequence[dict[str, Tensor]]) -> str:
        """Say with the width of which group the fitted temperature of leftmost channels goes most."""
        table = np.array([list(each.values()) for each in self.widths])
        fitted = [losses_at(each['outputs'][:, :1].float(), each['labels']).argmin(2)[:, 0] for each in saved]
        found = np.array([[spearmanr(each, column).statistic for column in table.T] for each in fitted])
        most = int(np.nan_to_num(np.abs(found.mean(0))).argmax())
        return (
            f"The fitted temperature follows the width of {self.space.labels[most]} most: Spearman's rho "
            f'{mean_and_spread(found[:, most])}.'
        )


def outputs_of(task: Task, steps: int, images: int, widths: list[dict[str, int]], seed: int) -> dict[str, Tensor]:
    """Train a supernet; return its outputs (widths, channel sets, pictures, classes) and the labels."""
    pictures, labels = task.pictures().train
    count = images or len(pictures)
    data = TensorDataset(pictures[:count], labels[:count])
    with suppress_training_logs(), seeded(seed):
        space = task.space()
        loader = DataLoader(data, batch_size=BATCH, shuffle=True)
        trainer = pl.Trainer(max_epochs=epochs_of(steps, count), limit_val_batches=0, **SILENT)
        module = MinMinModule(
            PictureModule(), sharing=LocallyFree(offset=1), channel_sets_per_step=CHANNEL_SETS, seed=seed
        )
        module.set_model(space)
        trainer.fit(module, loader)
        statistics = list(itertools.islice(loader, STATISTICS_BATCHES))
    heldout = [list(batch) for batch in zip(*(part.split(500) for part in task.pictures().heldout))]
    scorer = Scorer(
        module,
        sharing=LocallyFree(offset=1),
        heldout=heldout,
        statistics=statistics,
        channel_sets_per_step=CHANNEL_SETS,
        seed=seed,
        context=trainer.precision_plugin.forward_context,
    )
    saved = scored_outputs(scorer, widths)
    return {**saved, 'outputs': saved['outputs'].half()}


# --- scores ---------------------------------------------------------------------------------------


def measures(outputs: Tensor, labels: Tensor, accuracy: Floats, loss: Floats) -> dict[str, tuple[float, float, float]]:
    """Return ``{score: (tau to the true loss, regret, mean temperature)}``."""
    curves = losses_at(outputs, labels)  # (widths, sets, temperatures)
    fitted = curves.argmin(2)
    one = curves.amin(1).mean(0).argmin()
    found: dict[str, tuple[Tensor, float]] = {}
    for t in (1, 2, 3):
        found[f'T={t}'] = curves[:, :, index_of(t)].amin(1), t
    for factor in (1, 1.5, 2, 3):
        index = (fitted + round(12 * float(np.log2(factor)))).clamp_max(len(GRID) - 1)
        name = 'fitted' if factor == 1 else f'{factor} x fitted'
        found[name] = curves.gather(2, index[:, :, None])[:, :, 0].amin(1), float(GRID[index].mean())
    for factor in (1, 2, 3):
        index = min(int(one) + round(12 * float(np.log2(factor))), len(GRID) - 1)
        found[f'{factor} x fitted, one'] = curves[:, :, index].amin(1), float(GRID[index])
    scales = outputs.std(3, correction=0).mean(2)[:, :, None, None]
    standard = losses_at(outputs / scales, labels)[:, :, index_of(1)]
    found['standardized'] = standard.amin(1), float(scales.mean())
    right = (outputs.argmax(3) == labels).float().mean(2)
    found['accuracy'] = -right.amax(1), 1.0
    result = {}
    for name, (score, temperature) in found.items():
        values = score.double().numpy()
        result[name] = tau(values, loss), float(accuracy.max() - accuracy[values.argmin()]), temperature
    return result


def index_of(temperature: float) -> int:
    return int((GRID - temperature).abs().argmin())


def losses_at(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy (widths, channel sets, temperatures) of outputs at all temperatures of the grid."""
    rows = [
        torch.stack([torch.stack([cross_entropy(each / t, labels) for t in GRID]) for each in sets]) for sets in outputs
    ]
    return torch.stack(rows)


if __name__ == '__main__':
    main()
