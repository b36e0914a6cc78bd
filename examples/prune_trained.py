"""Prune a trained network to half and to a quarter of its MACs: real images, no download, about two minutes on two cores.

python examples/prune_trained.py --output pruned
python examples/prune_trained.py --output pruned --devices 2      # GPUs, or processes on a CPU: this script runs in each
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from nni_cafenet import Evolution, prune
from nni_cafenet.testing import SmallResNet, digits


def trained_network(loader: DataLoader, epochs: int = 15) -> nn.Module:
    """Return a network that has been trained as usual; yours takes its place."""
    model = SmallResNet(num_classes=10)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * len(loader), pct_start=0.2)
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--output', type=Path, default=Path('pruned'), help='folder (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed of everything (default: %(default)s)')
    parser.add_argument('--devices', type=int, help='devices to train on (default: one)')
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    torch.set_num_threads(1)  # the network is so small that a second thread costs more than it brings
    train = DataLoader(digits('train'), batch_size=64, shuffle=True)
    test = DataLoader(digits('test'), batch_size=200)
    model = trained_network(train)

    family = prune(
        model,
        ['50%', '25%'],  # a single budget gives a single network
        example_input=(1, 1, 8, 8),
        train=train,
        validate=test,  # for the report only
        search=Evolution(population=20, generations=5),
        seed=options.seed,
        devices=options.devices,
        directory=options.output,  # killed? The same command continues from there
    )
    print(family.report)
    for each in family:
        print(f'{each.macs:,} MACs in {each.directory}: {each.widths}')


if __name__ == '__main__':
    main()
