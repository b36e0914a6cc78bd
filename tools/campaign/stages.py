"""Small runs, each resumed by calling it again with the same folder; they return what they find, as JSON can hold it."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from nni.nas.experiment import NasExperiment
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from nni_cafenet import CafeNet, EqualBins, Evolution, LocallyFree, WidthMutator, prune, save_slim
from nni_cafenet.testing import digits

__all__ = ['RUNS', 'Run', 'phases_of']


class Net(nn.Module):
    """Two convolutions; dropout draws random numbers in training."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.dropout, self.fc = nn.Dropout(0.3), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return class scores (N, 10) of images (N, 1, 8, 8)."""
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return self.fc(self.dropout(x.mean((2, 3))))


class User(LightningModule):
    """Draws from all generators, and has momentum and a schedule."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Return the loss on noisy images."""
        x, y = batch
        noise = random.random() * np.random.rand()
        loss = cross_entropy(self.model(x + 0.1 * noise * torch.randn_like(x)), y)
        self.log('train_loss', loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the loss."""
        x, y = batch
        self.log('val_loss', cross_entropy(self.model(x), y))

    def configure_optimizers(self) -> Any:
        """Return Adam with a cosine schedule."""
        optimizer = torch.optim.Adam(self.parameters(), 0.01)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)]


# --- the runs -------------------------------------------------------------------------------------


def search(folder: Path, scratch: Path) -> dict[str, Any]:
    """Train a supernet, search, train two finalists and the baseline, save the best network."""
    strategy = CafeNet('50%', directory=folder, finalists=2, metric='val_loss', **_search_options())
    best = _experiment(strategy, scratch).export_top_models(formatter='instance')[0]
    winner = strategy.trained[0].finalist.scored
    save_slim(best, folder / 'best', winner.widths, macs=winner.macs, params=winner.params)
    return {'trained': _trained(strategy), 'weights': _hashed(best.state_dict()), 'report': strategy.report()}


def family(folder: Path, scratch: Path) -> dict[str, Any]:
    """Search for two budgets on one supernet, with finalists that inherit its weights."""
    options = {**_search_options(), 'finalists': 1, 'finalist_weights': 'inherited', 'metric': 'val_loss'}
    strategy = CafeNet(['70%', '40%'], directory=folder, **options)
    best = _experiment(strategy, scratch).export_top_models(2, formatter='instance')
    weights = [_hashed(network.state_dict()) for network in best]
    return {'trained': _trained(strategy), 'weights': weights, 'report': strategy.report()}


def pruned(folder: Path, scratch: Path) -> dict[str, Any]:
    """Prune a network under a budget, fine-tune two finalists and the baseline, write the networks and the report."""
    _seed()
    train, validate = loaders()
    with _steady_times():
        found = prune(
            Net(),
            '50%',
            example_input=(1, 1, 8, 8),
            train=train,
            validate=validate,
            bins=EqualBins(4),
            search=Evolution(population=3, generations=2, initial='uniform'),
            epochs=2,
            finetune_epochs=2,
            finalists=2,
            baseline=True,
            statistics_batches=2,
            holdout=0.25,
            directory=folder,
            device='cpu',
        )
    kept = {label: channels.tolist() for label, channels in found.kept.items()}
    return {'widths': found.widths, 'metric': found.metric, 'kept': kept, 'weights': _hashed(found.model.state_dict())}


def latency(folder: Path, scratch: Path) -> dict[str, Any]:
    """Measure a latency table and search under it. Times are computed from what is timed: real ones never repeat."""
    budget = {'latency': '97%', 'device': 'cpu', 'threads': 1}
    strategy = CafeNet(budget, directory=folder, **_search_options())
    with _steady_times(), mock.patch('nni_cafenet.latency.cache._EVERY', 0.0):
        experiment = _experiment(strategy, scratch)
    return {'best': experiment.export_top_models(3, formatter='dict'), 'report': strategy.report()}


def export(folder: Path, scratch: Path) -> dict[str, Any]:
    """Write a network as slim files, as ONNX and as TorchScript."""
    from nni_cafenet import export_onnx, export_torchscript

    _seed()
    space = WidthMutator(bins=EqualBins(4)).mutate(Net, example_input=(1, 1, 8, 8))
    widths = space.uniform_widths(0.5)
    slim = space.slim(widths).eval()
    save_slim(slim, folder, widths, macs=space.macs(widths), params=space.params(widths))
    files = [
        export_onnx(slim, folder / 'slim.onnx', (1, 1, 8, 8)),
        export_torchscript(slim, folder / 'slim.ts', (1, 1, 8, 8)),
    ]
    return {'files': [[each.size, each.way, each.largest_difference] for each in files]}


def command(folder: Path, scratch: Path) -> dict[str, Any]:
    """Do it all by the command line: search, train the network that was found once more, write the report anew."""
    search = [
        *('search', '--model', f'{__name__}:Net', '--data', f'{__name__}:loaders', '--budget', '50%', '--bins', '4'),
        *('--epochs', '2', '--population', '3', '--generations', '2', '--finalists', '1', '--finetune-epochs', '2'),
        *('--device', 'cpu', '--output', str(folder)),
    ]
    with _steady_times():
        for arguments in (search, ['train-slim', str(folder), '--epochs', '2', '--trust'], ['report', str(folder)]):
            _command(arguments)
    return {}


def _command(arguments: Sequence[str]) -> None:
    from nni_cafenet.cli import main

    status = main(arguments)
    if status:
        raise SystemExit(status)


def loaders() -> tuple[Any, Any]:
    """Return loaders of training and of validation data."""
    images, labels = digits('train').tensors
    train, validate = (TensorDataset(images[part], labels[part]) for part in (slice(0, 64), slice(64, 96)))
    torch_loader = torch.utils.data.DataLoader  # not the traced one of NNI
    return torch_loader(train, batch_size=16, shuffle=True), torch_loader(validate, batch_size=32)


def _search_options() -> dict[str, Any]:
    return {
        'sharing': LocallyFree(2),
        'search': Evolution(population=3, generations=2),
        'statistics_batches': 2,
        'holdout': 0.25,
    }


def _experiment(strategy: CafeNet, scratch: Path) -> NasExperiment:
    _seed()
    images, labels = digits('train').tensors
    space = WidthMutator(bins=EqualBins(4), verify=False).mutate(Net, example_input=(2, 1, 8, 8))
    quiet = dict.fromkeys('logger enable_checkpointing enable_progress_bar enable_model_summary'.split(), False)
    evaluator = Lightning(
        User(),
        Trainer(accelerator='cpu', max_epochs=2, default_root_dir=str(scratch), **quiet),
        train_dataloaders=DataLoader(TensorDataset(images[:64], labels[:64]), batch_size=16, shuffle=True),
        val_dataloaders=DataLoader(TensorDataset(images[64:96], labels[64:96]), batch_size=32),
    )
    experiment = NasExperiment(space, evaluator, strategy)
    experiment.config.experiment_working_directory = str(scratch / 'nni')
    experiment.run()
    return experiment


def _seed() -> None:
    random.seed(0), np.random.seed(0), torch.manual_seed(0)


def _trained(strategy: CafeNet) -> list[Any]:
    return [[each.finalist.to_json(), each.metric, each.metrics] for each in strategy.trained]


def _hashed(state: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(f'{name} {tuple(tensor.shape)} {tensor.dtype}'.encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _steady_times() -> Iterator[None]:
    """Let networks and operators take times that follow from what they are."""
    from nni_cafenet.latency.clock import Clock, Timing

    def of_operator(self: Clock, operator: Any) -> int:
        return 1000 + int(hashlib.sha256(operator.key.encode()).hexdigest()[:4], 16)

    def of_model(self: Clock, model: nn.Module, example: Any, **options: Any) -> Timing:
        sizes = [tensor.numel() for tensor in model.state_dict().values()]
        return Timing.of([100_000 + 10 * sum(sizes)])

    with mock.patch.object(Clock, 'operator', of_operator), mock.patch.object(Clock, 'model', of_model):
        yield


# --- what they are made of ------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """
    A run of the campaign.

    Parameters
    ----------
    call
        Does it: ``call(folder, scratch)`` with the folder that is compared, and another for what is not.
    phases
        The parts of it that are counted, in order; operations of others are not struck.
    """

    call: Callable[[Path, Path], dict[str, Any]]
    phases: tuple[str, ...]


RUNS = {
    'search': Run(search, ('start', 'supernet', 'search', 'finalists', 'writing')),
    'family': Run(family, ('finalists',)),
    'pruning': Run(pruned, ('start', 'supernet', 'search', 'finalists', 'writing')),
    'latency': Run(latency, ('latency', 'start')),
    'export': Run(export, ('writing',)),
    'command': Run(command, ('start', 'writing')),
}

_PHASES = {
    'start': ('run.json', 'process.json', 'prune.json', 'job.json'),
    'supernet': ('supernet', 'curves.jsonl', 'initial'),
    'search': ('history', 'search'),
    'finalists': ('finalists',),
    'latency': ('latency',),
}


def phases_of(paths: Sequence[str]) -> list[str]:
    """Return the part of a run to which each of its file operations belongs, by their paths in the folder."""
    phases, phase = [], 'start'
    for path in paths:
        first = path.split('/')[0]
        if first != '.':  # the folder itself belongs to what was done last
            name = first.lstrip('.')
            phase = next((each for each, starts in _PHASES.items() if name.startswith(starts)), 'writing')
        phases.append(phase)
    return phases
