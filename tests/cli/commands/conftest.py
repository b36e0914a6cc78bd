"""A folder of pictures, a small network and its weights: what jobs of the command line are made of."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

NET = """\
from torch import nn


def net(num_classes=3, width=6):
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 8, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
    )


def plain():
    return net()
"""


def paint(folder: Path) -> None:
    """Three classes by color, 12 pictures each."""
    generator = torch.Generator().manual_seed(0)
    for index, name in enumerate(('blue', 'green', 'red')):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = torch.randint(0, 120, (3, 14, 14), generator=generator, dtype=torch.uint8)
            pixels[2 - index] += 100
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / name / f'{number}.png')


@pytest.fixture(scope='session')
def material(tmp_path_factory):
    """``net.py``, ``net.pt`` and ``photos``; nothing is to be changed in it."""
    folder = tmp_path_factory.mktemp('material')
    (folder / 'net.py').write_text(NET)
    paint(folder / 'photos')
    names: dict = {}
    exec(NET, names)
    torch.manual_seed(0)
    model: nn.Module = names['net']()
    torch.save({'state_dict': {f'module.{key}': value for key, value in model.state_dict().items()}}, folder / 'net.pt')
    return folder


@pytest.fixture
def place(material, tmp_path, monkeypatch):
    """A working directory of its own with links to that material."""
    for entry in material.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    yield tmp_path
    sys.modules.pop('net', None)


@pytest.fixture(autouse=True)
def _one_report(monkeypatch):
    """The command writes the report under its own names once more: once is enough for a test."""
    monkeypatch.setattr('nni_cafenet.pruning.results.write_report', lambda folder, report: None)


@pytest.fixture
def job():
    """``job('prune', ...)``: the words of a short job on that material; later ones go before."""

    def words(command: str, *more: str) -> list[str]:
        base = ['--model', 'net.py:net', '--data', 'imagefolder:photos', '--input', '1', '3', '12', '12']
        base += ['--epochs', '2', '--finetune-epochs', '2', '--population', '4', '--generations', '2']
        base += ['--batch-size', '8', '--device', 'cpu', '--output', 'out']
        base += ['--finalists', '1', '--no-baseline']
        if command == 'prune':
            base += ['--weights', 'net.pt']
        return [command, *base, *more]

    return words
