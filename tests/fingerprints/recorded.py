"""Trainings of many kinds, and what is recorded of them; run as a script, it prints the records."""

from __future__ import annotations

import functools
import json
import sys
import warnings

import numpy as np
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader, Lightning, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from nni_cafenet.fingerprints import evaluator_record, loader_record, model_record, record_of

RATE = 0.1
NAMES = frozenset({'conv', 'bn', 'relu', 'linear'})
SILENT = {'logger': False, 'enable_checkpointing': False, 'accelerator': 'cpu', 'enable_progress_bar': False}


def smooth(loss, by=0.5):
    return loss * by * RATE if 'conv' in NAMES else loss


class Net(nn.Module):
    act = nn.functional.relu

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4, 2)
        self.drop = nn.Dropout(0.2)
        self.hook = lambda x: x * 2

    def forward(self, x):
        """Classify."""
        return self.fc(self.drop(self.conv(x).relu().mean((2, 3))))


class User(LightningModule):
    def __init__(self, rate=RATE, teacher=None):
        super().__init__()
        self.rate, self._loss = rate, functools.partial(functional.cross_entropy, label_smoothing=0.1)
        self.head = nn.Linear(2, 2)
        self.register_buffer('weights', torch.tensor([1.0, 2.0]))
        self.teacher = teacher
        self.lock_like = object()

    def training_step(self, batch, batch_idx):
        x, y = batch
        return smooth(self._loss(self.model(x), y))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate)


class Augmented(Dataset):
    """Random on access, by torch's own generator or one of its own."""

    def __init__(self, own=False, factor=0.1):
        self.own, self.factor = np.random.default_rng() if own else None, factor
        self.read = 0

    def __len__(self):
        return 50

    def __getitem__(self, index):
        self.read += 1
        noise = self.own.random() if self.own is not None else float(torch.rand(()))
        return {'x': torch.full((3,), index + self.factor * noise), 'y': index % 2}


class Stream(IterableDataset):
    def __iter__(self):
        yield from range(10)


def tensors(number=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(number, 1, 8, 8, generator=generator), torch.zeros(number, dtype=torch.long))


def nnis(**changed):
    options = {'learning_rate': 0.1, 'num_classes': 2, 'max_epochs': 2, **SILENT, **changed}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return Classification(train_dataloaders=DataLoader(tensors(), batch_size=20), **options)


def users(*args, callbacks=(), **options):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        trainer = Trainer(max_epochs=3, callbacks=list(callbacks), **{**SILENT, **options})
        return Lightning(User(*args), trainer, train_dataloaders=DataLoader(tensors(), batch_size=20))


def records():
    """All records, by name."""
    teacher = nn.Linear(2, 2)
    with torch.no_grad():
        teacher.weight.fill_(1), teacher.bias.fill_(0)
    teacher.requires_grad_(False)
    return {
        'nni': evaluator_record(nnis()),
        'user': evaluator_record(users(0.1, teacher, callbacks=[EarlyStopping('val_loss', patience=2)])),
        'model': model_record(Net()),
        'tensors': loader_record(DataLoader(tensors(), batch_size=8, shuffle=True)),
        'subset': loader_record(DataLoader(Subset(tensors(), range(0, 60, 2)), batch_size=8)),
        'augmented': loader_record(DataLoader(Augmented(), batch_size=8, collate_fn=lambda batch: batch)),
        'random': loader_record(DataLoader(Augmented(own=True), batch_size=8)),
        'stream': loader_record(DataLoader(Stream(), batch_size=8)),
        'several': loader_record([DataLoader(tensors(), batch_size=8)] * 2),
        'none': loader_record(None),
        'things': record_of(
            [smooth, functools.partial(smooth, by=2), {1, 2}, NAMES, {'b': 1, 2: 'a'}, object(), np.pi]
        ),
    }


if __name__ == '__main__':
    json.dump(records(), sys.stdout, indent=1)
