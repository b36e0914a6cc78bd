"""A complete search on real data without a download: digits, a small residual network, a quarter of its MACs.

It trains the supernet and searches widths in an NNI experiment, then trains the winner, the uniformly scaled network of
the budget and the full network from scratch by one recipe, several times each, and compares them. Started again in its
folder, it resumes.

The network has headroom: it is wide early, where channels are expensive, and narrow late. Uniform scaling leaves it so.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nni
import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import ClassificationModule, DataLoader, Lightning, Trainer
from nni.nas.experiment import NasExperiment
from nni.nas.experiment.config import NasExperimentConfig
from torch import nn
from tqdm.auto import tqdm

from ..fingerprints import digest
from ..report import widths_svg
from ..search import Evolution, uniform_within
from ..slim import save_slim
from ..space import FlopsSensitiveBins, WidthMutator, WidthSpace
from ..stages import EpochBar
from ..strategy import CafeNet
from ..testing import StagedResNet, digits
from ..utils import (
    absolute_path,
    append_record,
    as_markdown,
    as_table,
    read_records,
    seeded,
    suppress_training_logs,
    write_json,
    write_text,
)

__all__ = ['DigitsModule', 'QuickstartOptions', 'QuickstartResult', 'quickstart']

BATCH = 64

_SILENT: dict[str, Any] = {
    'accelerator': 'cpu',
    'logger': False,
    'enable_checkpointing': False,
    'enable_progress_bar': False,
    'enable_model_summary': False,
}
"""Options of Lightning's trainer: this package shows progress and saves state."""


@dataclass(frozen=True)
class QuickstartOptions:
    """Options of the quickstart.

    The networks are trained with ``seed`` and those that follow it. ``epochs`` are those of every training from
    scratch, ``trainings`` their number per network. For ``stages`` see `nni_cafenet.testing.StagedResNet`.
    """

    budget: str = '25%'
    seed: int = 0
    supernet_epochs: int = 40
    epochs: int = 8
    population: int = 20
    generations: int = 8
    trainings: int = 5
    stages: tuple[tuple[int, ...], ...] = ((20, 20), (8, 8, 8), (8, 8, 8))


@dataclass(frozen=True)
class QuickstartResult:
    """Result of the quickstart.

    ``inherited`` is the accuracy of the searched network on the test images with the supernet's weights, ``accuracies``
    are those after each training from scratch.
    """

    table: str
    widths: dict[str, int]
    slim: nn.Module
    inherited: float
    accuracies: dict[str, list[float]]


@nni.trace
class DigitsModule(ClassificationModule):
    """Classification by SGD with Nesterov momentum, one cycle of the learning rate."""

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its schedule over all steps of the trainer."""
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps, pct_start=0.2)
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}


def quickstart(output: str | Path, options: QuickstartOptions, echo: Callable[[str], None]) -> QuickstartResult:
    """Run the job, or the rest of it; ``echo`` is called with each line for the user.

    Raises ResumeError if the folder has a run with other options, ValueError if the budget is out of reach.
    """
    folder = absolute_path(output)
    with suppress_training_logs(), _one_thread():
        with seeded(options.seed):
            space = WidthMutator(bins=FlopsSensitiveBins(min_bin=1, max_bin=2)).mutate(
                StagedResNet, options.stages, stem_stride=1, example_input=(1, 1, 8, 8)
            )
        echo(f'Space: {space.describe()}')
        strategy = _search(space, folder, options)
        best = strategy.best_within(strategy.budgets[0])[0]
        slim = next(strategy.list_models()).executable_model()
        inherited = accuracy(slim)
        uniform = uniform_within(strategy.budgets[0])
        for sentence in strategy.findings():
            echo(sentence)
        networks = {'full': space.full_widths, 'uniform': uniform, 'searched': best.widths}
        accuracies = _train_from_scratch(space, networks, folder, options)
    rows = []
    for name, widths in networks.items():
        macs, params, results = space.macs(widths), space.params(widths), accuracies[name]
        spread = statistics.stdev(results) if len(results) > 1 else 0.0
        share = f'{100 * macs / space.macs(space.full_widths):.1f} %'
        rows.append([name, f'{macs:,}', share, f'{params:,}', f'{statistics.mean(results):.2f} ± {spread:.2f}'])
    headers = ['network', 'MACs', 'of full', 'parameters', f'test accuracy (%), {options.trainings} trainings']
    macs_text = f'{best.macs:,} of {space.macs(space.full_widths):,} MACs'
    facts = {'macs': best.macs, 'params': best.params, 'options': asdict(options)}
    save_slim(slim, folder, best.widths, example_input=space.example_input, **facts)
    write_text(
        folder / 'widths.svg', widths_svg(space.full_widths, best.widths, title='Searched widths', subtitle=macs_text)
    )
    write_text(folder / 'table.md', as_markdown(headers, rows) + '\n')
    write_json(folder / 'results.json', {'accuracies': accuracies, 'inherited': inherited, 'widths': networks})
    return QuickstartResult(as_table(headers, rows), best.widths, slim, inherited, accuracies)


def accuracy(model: nn.Module) -> float:
    """Accuracy on the test images, in percent. They are not used in training and search."""
    images, labels = digits('test').tensors
    model.eval()
    with torch.no_grad():
        return 100 * float((model(images).argmax(1) == labels).float().mean())


def _search(space: WidthSpace, folder: Path, options: QuickstartOptions) -> CafeNet:
    """Train the supernet and search widths, in an NNI experiment."""
    train = DataLoader(digits('train'), batch_size=BATCH, shuffle=True)
    evaluator = Lightning(
        DigitsModule(num_classes=10),
        Trainer(
            max_epochs=options.supernet_epochs,
            **_SILENT,
            callbacks=[EpochBar('Supernet', ['cafenet/loss'])],
            default_root_dir=str(folder),
        ),
        train_dataloaders=train,
        val_dataloaders=DataLoader(digits('test'), batch_size=BATCH),
    )
    strategy = CafeNet(
        budget=options.budget,
        search=Evolution(population=options.population, generations=options.generations),
        holdout=0.2,
        statistics_batches=20,
        seed=options.seed,
        directory=folder,
    )
    config = NasExperimentConfig('sequential', 'raw')
    config.experiment_working_directory = str(folder / 'nni')
    with seeded(options.seed):
        experiment = NasExperiment(space, evaluator, strategy, config)
        try:
            experiment.run()
        finally:
            experiment.stop()
    return strategy


def _train_from_scratch(
    space: WidthSpace, networks: dict[str, dict[str, int]], folder: Path, options: QuickstartOptions
) -> dict[str, list[float]]:
    """Train every network several times, except for trainings in the folder's ``trainings.jsonl``."""
    path = folder / 'trainings.jsonl'
    done = {
        (record['network'], record['seed'], record['asked']): record
        for record in (read_records(path, remedy='delete that line') if path.exists() else [])
    }
    accuracies: dict[str, list[float]] = {name: [] for name in networks}
    total = options.trainings * len(networks) * options.epochs
    with tqdm(total=total, desc='Trainings from scratch', unit='epoch', dynamic_ncols=True) as bar:
        for seed in range(options.seed, options.seed + options.trainings):
            for name, widths in networks.items():
                asked = digest([widths, options.epochs, options.stages])
                record = done.get((name, seed, asked))
                if record is None:
                    value = _train(space, widths, seed, options, bar)
                    record = {'network': name, 'seed': seed, 'asked': asked, 'accuracy': value}
                    append_record(path, record)
                else:
                    bar.update(options.epochs)
                accuracies[name].append(record['accuracy'])
    return accuracies


def _train(space: WidthSpace, widths: dict[str, int], seed: int, options: QuickstartOptions, bar: Any) -> float:
    with seeded(seed):
        model = space.slim(widths, weights=False)
        module = DigitsModule(num_classes=10)
        module.set_model(model)
        trainer = pl.Trainer(
            max_epochs=options.epochs,
            **_SILENT,
            callbacks=[_Tick(bar)],
        )
        trainer.fit(module, DataLoader(digits('train'), batch_size=BATCH, shuffle=True))
        if trainer.interrupted:
            raise KeyboardInterrupt
        return accuracy(model)


class _Tick(pl.Callback):
    """Advance a progress bar after every epoch."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar.update()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, since the networks are too small to benefit from more."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(threads)
