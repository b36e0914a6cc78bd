"""examples/quantize.py on a folder of real pictures: the table, the files, and what is said of bad input."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from nni_cafenet.testing import StagedResNet

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

EXAMPLE = Path(__file__).parents[2] / 'examples' / 'quantize.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Digits as PNG files, a folder per class."""
    root = tmp_path_factory.mktemp('pictures')
    pixels, labels = load_digits(n_class=3, return_X_y=True)
    for index, (row, label) in enumerate(zip((pixels * 15).astype(np.uint8), labels)):
        place = root / ('train' if index % 4 else 'test') / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(row.reshape(8, 8)).save(place / f'{index}.png')
    return root


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['quantize.py', *map(str, arguments)])
    runpy.run_path(str(EXAMPLE), run_name='__main__')


def test_int8_keeps_the_accuracy(folder, tmp_path):
    example = SimpleNamespace(**runpy.run_path(str(EXAMPLE), run_name='quantize'))
    train, test = (example.pictures_in(folder, split) for split in ('train', 'test'))
    torch.manual_seed(0)
    model = network(train)
    options = example.options_of([f'--output={tmp_path}', '--rounds=1'])
    rows = example.measured({'slim': model}, train.tensors[0][::4], test, options)
    assert [row[0] for row in rows] == ['slim', 'slim + int8']
    plain, int8 = (float(row[1].rstrip('%')) for row in rows)
    with torch.no_grad():
        hits = (model(test.tensors[0]).argmax(1) == test.tensors[1]).float().mean()
    assert plain == pytest.approx(100 * float(hits), abs=0.01)
    assert plain > 80
    assert int8 > plain - 5
    assert 'QuantizeLinear' in {node.op_type for node in onnx.load(tmp_path / 'slim.int8.onnx').graph.node}
    assert all(float(row[3].split()[0]) > 0 for row in rows)


def network(train):
    model = StagedResNet(((8, 8), (8, 8)), num_classes=3, stem_stride=4)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(6):
        order = torch.randperm(len(train)).split(50)
        for x, y in (train[chosen] for chosen in order):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model.eval()


@pytest.mark.sweep
def test_the_whole_example(folder, tmp_path, monkeypatch, capsys):
    few = (
        '--pictures=256',
        '--epochs=1',
        '--supernet-epochs=1',
        '--finetune-epochs=1',
        '--calibration=64',
        '--rounds=1',
        '--budget=60%',
    )
    run(monkeypatch, '--data', folder, '--output', tmp_path, *few)
    rows = [
        line.split(' | ')[0]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith(('| trained', '| slim'))
    ]
    assert rows == ['| trained', '| trained + int8', '| slim', '| slim + int8']


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--epochs', '0'], '--epochs 0 must be 1 or more'),
        (['--data', '/nowhere'], 'does not contain Fashion-MNIST'),
    ],
)
def test_bad_input_is_named(arguments, said, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, '--output', tmp_path, *arguments)
    assert said in capsys.readouterr().err + str(error.value)


@pytest.mark.parametrize('missing', ['torchao', 'onnxruntime'])
def test_a_missing_package_is_named_with_its_remedy(missing, tmp_path, monkeypatch, capsys):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *rest: None if name == missing else find(name, *rest))
    with pytest.raises(SystemExit):
        run(monkeypatch, '--output', tmp_path, '--pt2e')
    said = capsys.readouterr().err
    assert f'{missing} is not installed: pip install' in said
