"""Search an NNI model space whose choices are numbers of channels, in its own labels and values.

Real images, no download, about a minute on one core:

    python examples/native_space.py --output native_space
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nni
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.experiment import NasExperiment
from nni.nas.nn.pytorch import ModelSpace, MutableBatchNorm2d, MutableConv2d, MutableLinear
from torch import nn

from nni_cafenet import CafeNet, Evolution
from nni_cafenet.testing import digits


class Block(nn.Module):
    """An inverted residual block: its hidden width is an expression of two labels."""

    def __init__(self, channels: Any, expand: Any) -> None:
        super().__init__()
        hidden = channels * expand
        self.widen = MutableConv2d(channels, hidden, 1)
        self.depthwise = MutableConv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.narrow = MutableConv2d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.narrow(self.depthwise(self.widen(x).relu()).relu())


class Digits(ModelSpace):
    """A space as NNI's users write them: labels shared by layers, an expression of a label, and two of two labels."""

    def __init__(self) -> None:
        super().__init__()
        stem, body = nni.choice('stem', [8, 12, 16]), nni.choice('body', [8, 16, 24, 32])
        self.stem, self.norm = MutableConv2d(1, stem, 3, padding=1, bias=False), MutableBatchNorm2d(stem)
        self.first = Block(stem, nni.choice('first', [1, 2, 3]))
        self.down, self.down_norm = MutableConv2d(stem, body, 3, stride=2, padding=1), MutableBatchNorm2d(body)
        self.second = Block(body, nni.choice('second', [1, 2, 3]))
        self.head, self.head_norm = MutableConv2d(body, body * 2, 1, bias=False), MutableBatchNorm2d(body * 2)
        self.classifier = MutableLinear(body * 2, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(self.norm(self.stem(x)).relu())
        x = self.second(self.down_norm(self.down(x)).relu())
        return self.classifier(self.head_norm(self.head(x)).relu().mean((2, 3)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--output', type=Path, default=Path('native_space'), help='folder (default: %(default)s)')
    parser.add_argument('--budget', default='40%', help='largest cost (default: %(default)s of the MACs)')
    parser.add_argument('--epochs', type=int, default=12, help='epochs of each training (default: %(default)s)')
    parser.add_argument('--widths', type=int, default=40, help='widths to score (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed of everything (default: %(default)s)')
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)
    torch.set_num_threads(1)  # the network is so small that a second thread costs more than it brings
    evaluator = Classification(
        num_classes=10,
        learning_rate=3e-3,
        train_dataloaders=DataLoader(digits('train'), batch_size=64, shuffle=True),
        val_dataloaders=DataLoader(digits('test'), batch_size=200),
        max_epochs=options.epochs,
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    space = Digits()
    strategy = CafeNet(
        options.budget,
        search=Evolution(population=max(2, options.widths // 4), generations=4),
        finalists=1,  # trained from scratch, beside the uniformly scaled network
        seed=options.seed,
        directory=options.output,  # killed? The same command continues from there
    )
    experiment = NasExperiment(space, evaluator, strategy)
    experiment.run()
    print(strategy.report())

    (sample,) = experiment.export_top_models(formatter='dict')
    (found,) = experiment.export_top_models(formatter='instance')
    network = space.freeze(sample)  # the sample is one of the space's own
    network.load_state_dict(found.state_dict())
    print(f'{sample}: {strategy.result.space.macs(sample):,} MACs')
    experiment.stop()


if __name__ == '__main__':
    main()
