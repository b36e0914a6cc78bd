"""A network, real pictures and a recipe: what every arm of the proof shares."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nni
import torch
from nni.nas.evaluator.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy

from nni_cafenet import WidthSpace
from nni_cafenet.testing import read_fashion_mnist

from .networks import Network

BATCH = 64
LEARNING_RATE = 0.1


@dataclass(frozen=True)
class Pictures:
    """Training pictures, held-out training pictures and test pictures; each (images, labels)."""

    train: tuple[Tensor, Tensor]
    heldout: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Task:
    """What is searched, and how it is trained.

    Parameters
    ----------
    name
        What the task is called in records and tables.
    network
        The network.
    ratio
        The uniform network's share of every width, or of the MACs: see the network. Its MACs are the budget.
    data
        The folder of Fashion-MNIST.
    size
        Height and width of the pictures; they are averaged down to it.
    train, heldout
        Training pictures, and those that are held out of them for scores.
    steps
        Steps of a training from scratch.
    supernet_steps, supernet_images
        Steps of a supernet, and the first training pictures that it sees; 0: all.
    """

    name: str
    network: Network
    ratio: float
    data: Path
    size: int = 14
    train: int = 16_000
    heldout: int = 3_000
    steps: int = 500
    supernet_steps: int = 1_500
    supernet_images: int = 0

    def space(self) -> WidthSpace:
        """Make the space."""
        return self.network.space(self.size)

    def uniform_widths(self, space: WidthSpace) -> dict[str, int]:
        """Return the uniform network's widths by label."""
        return self.network.uniform(space, self.ratio)

    def pictures(self) -> Pictures:
        """Return the pictures; the cut of the training part never changes."""
        return _pictures(self.data, self.size, self.train, self.heldout)

    def supernet_pictures(self) -> tuple[Tensor, Tensor]:
        """Return the pictures that the supernet is trained on."""
        images, labels = self.pictures().train
        count = self.supernet_images or len(images)
        return images[:count], labels[:count]


@functools.cache
def _pictures(folder: Path, size: int, train: int, heldout: int) -> Pictures:
    def part(split: Any) -> tuple[Tensor, Tensor]:
        pictures, labels = read_fashion_mnist(folder, split)
        images = adaptive_avg_pool2d(torch.from_numpy(pictures)[:, None].float() / 255, (size, size))
        return images, torch.from_numpy(labels)

    images, labels = part('train')
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    chosen, held = order[:train], order[train : train + heldout]
    test, test_labels = part('test')
    mean, std = images[chosen].mean(), images[chosen].std()

    def standard(some: Tensor) -> Tensor:
        return (some - mean) / std

    return Pictures(
        (standard(images[chosen]), labels[chosen]),
        (standard(images[held]), labels[held]),
        (standard(test), test_labels),
    )


@functools.cache
def unused_pictures(task: Task, count: int = 10_000) -> tuple[Tensor, Tensor]:
    """Return training pictures that are neither trained on nor held out for scores."""
    everything = _pictures(task.data, task.size, task.train, task.heldout + count)
    images, labels = everything.heldout
    return images[task.heldout :], labels[task.heldout :]


def recipe(
    parameters: Any, steps: int, rate: float = LEARNING_RATE
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Make the optimizer and the schedule of every training here, those of supernets too."""
    optimizer = torch.optim.SGD(parameters, lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


@nni.trace
class PictureModule(LightningModule):
    """What a user of the package would write."""

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.model(x)
        return output

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log('val_acc', (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        optimizer, schedule = recipe(self.parameters(), int(self.trainer.estimated_stepping_batches))
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}


def train_from_scratch(
    task: Task, space: WidthSpace, widths: Mapping[str, int], seed: int, steps: int | None = None
) -> nn.Module:
    """Train the slim model of some widths from fresh weights; returns it in evaluation mode."""
    torch.manual_seed(seed)
    return fit(task, space.slim(widths, weights=False), steps or task.steps)


def fit(task: Task, model: nn.Module, steps: int) -> nn.Module:
    """Train a model by the recipe; returns it in evaluation mode."""
    images, labels = task.pictures().train
    optimizer, schedule = recipe(model.parameters(), steps)
    model.train()
    done = 0
    while done < steps:
        for batch in torch.randperm(len(images)).split(BATCH)[: steps - done]:
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
            done += 1
    return model.eval()


@torch.no_grad()
def evaluate(model: nn.Module, images: Tensor, labels: Tensor, batch: int = 500) -> tuple[float, float]:
    """Return accuracy in percent, and cross-entropy."""
    output = torch.cat([model(part) for part in images.split(batch)])
    return 100 * float((output.argmax(1) == labels).float().mean()), float(cross_entropy(output, labels))


def epochs_of(steps: int, images: int) -> int:
    """Return the epochs that take about some steps."""
    return max(1, round(steps / math.ceil(images / BATCH)))
