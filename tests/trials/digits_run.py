"""A small run with all three stages, and gates at which a test can hold its processes: ``python digits_run.py --help``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import time
from pathlib import Path

import numpy as np
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from nni.nas.experiment import NasExperiment, NasExperimentConfig
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from nni_cafenet import CafeNet, EqualBins, Evolution, LocallyFree, WidthMutator, traced
from nni_cafenet.testing import digits

STEPS = {'training': 0, 'scoring': 0}
"""What this process has done; attributes of a module are put back after every score."""


def elsewhere(root) -> Path:
    """Return the folder of the experiments under another path, as another machine may see it."""
    link = Path(root, 'elsewhere').absolute()
    if not link.is_symlink():
        link.symlink_to('nni')
    return link


def gate(name: str) -> None:
    """Wait here for as long as there is a file of this name in the folder of gates; say so in another file."""
    closed = Path(os.environ.get('GATES', os.devnull), name)
    while closed.exists():
        closed.with_name(f'{name}-reached-{os.getpid()}').touch()
        time.sleep(0.02)


if 'NNI_PLATFORM' in os.environ and Path(os.environ['GATES'], 'imports-fail').exists():
    raise ImportError('This machine lacks a library.')  # in a trial


class Net(nn.Module):
    """Two convolutions; dropout draws random numbers in training."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16)
        self.dropout, self.fc = nn.Dropout(0.3), nn.Linear(16, 10)

    def forward(self, x):
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return self.fc(self.dropout(x.mean((2, 3))))


@traced
class User(LightningModule):
    """Draws from all generators, and has a schedule."""

    def __init__(self, stage, fails=''):
        super().__init__()
        self.stage, self.fails = stage, fails

    def training_step(self, batch, batch_idx):
        kind = 'training' if self.training else 'scoring'  # which may differentiate a loss too
        STEPS[kind] += 1
        if kind == 'training' and batch_idx == 1:
            gate(f'{self.stage}-epoch-{self.current_epoch}')
        if not STEPS['training']:
            gate(f'search-step-{STEPS["scoring"]}')
        if self.fails == (self.stage if STEPS['training'] else 'search'):
            raise ZeroDivisionError('This step fails.')
        x, y = batch
        noise = random.random() * np.random.rand()
        return cross_entropy(self.model(x + 0.1 * noise * torch.randn_like(x)), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log('val_loss', cross_entropy(self.model(x), y))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), 0.01)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)]


@traced
def images(split, number):
    """Some of the digits."""
    return TensorDataset(*(tensor[:number] for tensor in digits(split).tensors))


def evaluator(stage, train=200, fails=''):
    """An evaluator of three epochs."""
    options = dict.fromkeys('logger enable_checkpointing enable_progress_bar enable_model_summary'.split(), False)
    return Lightning(
        User(stage, fails),
        Trainer(accelerator='cpu', max_epochs=3, **options),
        train_dataloaders=DataLoader(images('train', train), batch_size=32, shuffle=True),
        val_dataloaders=DataLoader(images('test', 100), batch_size=100),
    )


def make(
    engine='ts',
    root='.',
    *,
    id=None,
    net=Net,
    budget='50%',
    train=200,
    fails='',
    directory=None,
    concurrency=2,
    **config,
):
    """Return an experiment."""
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    space = WidthMutator(bins=EqualBins(8), verify=False).mutate(net, example_input=(2, 1, 8, 8))
    strategy = CafeNet(
        budget,
        sharing=LocallyFree(2),
        search=Evolution(population=6, generations=3),
        statistics_batches=2,
        temperature=2,  # three losses a batch, by which the steps of gates are counted
        holdout=0.2,
        finalists=2,
        finalist_evaluator=evaluator('finalist', fails=fails),
        metric='val_loss',
        directory=Path(root, 'run') if engine == 'sequential' else directory,
        trial_directory=elsewhere(root) / id / 'cafenet' if engine == 'ts' and directory is None else None,
    )
    if engine == 'ts':
        settings = NasExperimentConfig('ts', 'simplified', 'local', trial_concurrency=concurrency, **config)
    else:
        settings = NasExperimentConfig('sequential', 'raw', 'local')
    settings.experiment_working_directory = str(Path(root, 'nni').absolute())
    return NasExperiment(space, evaluator('supernet', train, fails), strategy, settings, id=id)


def outcome(experiment):
    """Return all that must be the same bit for bit, however often the run was interrupted."""
    strategy = experiment.strategy
    winner = experiment.export_top_models(formatter='instance')[0]
    return {
        'history': (strategy.directory / 'history.jsonl').read_text(),
        'csv': (strategy.directory / 'history.csv').read_text(),
        'finalists': json.loads((strategy.directory / 'finalists.json').read_text()),
        'results': {
            each.finalist.name: json.loads(
                (strategy.directory / 'finalists' / each.finalist.name / 'result.json').read_text()
            )
            for each in strategy.trained
        },
        'widths': experiment.export_top_models(3, formatter='dict'),
        'weights': {name: tensor.tolist() for name, tensor in winner.state_dict().items()},
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('engine', choices=['ts', 'sequential'])
    parser.add_argument('root', type=Path)
    parser.add_argument('--port', type=int)
    parser.add_argument('--resume', action='store_true')
    parser.add_argument('--options', type=json.loads, default={}, help='what make() takes besides, as JSON')
    given = parser.parse_args()
    torch.set_num_threads(1)
    experiment = make(given.engine, given.root, id='digits', **given.options)
    where = {} if given.port is None else {'port': given.port}
    experiment.resume(**where) if given.resume else experiment.run(**where)
    logging.getLogger('nni').info('finished: %s', experiment.strategy.finished)
    if experiment.strategy.finished:
        (given.root / 'outcome.json').write_text(json.dumps(outcome(experiment)))
    experiment.stop()


if __name__ == '__main__':
    from digits_run import main  # what is sent to trials must be importable there

    main()
