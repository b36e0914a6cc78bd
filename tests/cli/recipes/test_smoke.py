"""Every recipe, by its command, on a small data set in the real format: all stages, a fraction of everything."""

from __future__ import annotations

import json

import pytest

from nni_cafenet import cli
from nni_cafenet.cli.recipes import Recipe, recipe_names
from nni_cafenet.testing import (
    read_items,
    real_classes,
    real_scenes,
    write_celeba,
    write_cifar,
    write_coco,
    write_imagenet,
)

CHEAP = ('cifar10/vgg19-199M', 'celeba/resnet18-296M')
SIDES = {
    'imagenet': 64,
    'cifar10': 32,
    'celeba': 48,
    'coco/fasterrcnn': 64,
    'coco/retinanet': 64,
    'coco/ssdlite320': 320,
}


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp('miniatures')
    items = read_items('digits')
    write_imagenet(home / 'imagenet', items, classes=3, train=16, val=4)
    write_cifar(home / 'cifar10', items, train=50, test=20)
    write_celeba(home / 'celeba', items, train=35, valid=10, test=5)
    scenes = {
        split: real_scenes(part, count, size=64) for split, part, count in (('train', 'train', 24), ('val', 'test', 6))
    }
    write_coco(home / 'coco', scenes, real_classes())
    return home


def words(home, name, output, side):
    """The command of a recipe for small pictures; budgets that are counts belong to the large ones."""
    kind = Recipe.load(name).form.partition(':')[0]
    data = home / name.partition('/')[0]
    command = ['search', '--recipe', name, '--data', f'{kind}:{data}', '--output', str(output)]
    command += ['--input', '1', '3', str(side), str(side), '--budget', '50%']
    command += ['--fraction', '0.001', '--set', 'data.batch_size=16', 'search.holdout=0.2']
    return [*command, '--device', 'cpu', '--workers', '0', '--precision', '32-true']


def check(output, capsys, name):
    report = json.loads((output / 'report.json').read_text())
    trained = {network['name']: network['finetuned'] for network in report['networks']}
    assert {'full', 'uniform (baseline)'} <= set(trained)
    assert {network['role'] for network in report['networks']} == {'full', 'baseline', 'pruned'}
    assert all(0 <= value <= 1 for value in trained.values())
    capsys.readouterr()
    assert cli.main(['compare', str(output)]) == 0
    out = capsys.readouterr().out
    rows = [line.split('|')[1:-1] for line in out.splitlines() if line.startswith('|')][2:]
    assert [row[0].strip() for row in rows] == ['full', 'uniform', 'searched 1']
    assert [row[5].strip() for row in rows] == ['0', '0', '0']
    assert f'Published for {name}' in out


@pytest.mark.parametrize('name', CHEAP)
def test_the_cheapest(home, tmp_path, capsys, name):
    assert cli.main(words(home, name, tmp_path / 'run', 16)) == 0
    check(tmp_path / 'run', capsys, name)


@pytest.mark.sweep
@pytest.mark.timeout(1200)  # building the space of a detector takes most of a minute
@pytest.mark.parametrize('name', recipe_names())
def test_all(home, tmp_path, capsys, name):
    side = next(side for kind, side in SIDES.items() if name.startswith(kind))
    assert cli.main(words(home, name, tmp_path / 'run', side)) == 0
    check(tmp_path / 'run', capsys, name)


def test_a_dry_run_says_what_it_means(home, tmp_path, capsys):
    output = tmp_path / 'run'
    assert cli.main([*words(home, CHEAP[0], output, 16), '--dry-run', '--devices', '2']) == 0
    out = capsys.readouterr().out
    lines = [line[2:] for line in out.splitlines() if line.startswith('# ')]
    assert not output.exists()
    assert lines[0] == 'devices: 2 processes on CPUs, started by this command'
    assert lines[1].startswith('effective batch size: ')
    assert lines[1].endswith(' of a batch on each of 2 devices)')
    assert lines[2] == 'learning rate: 0.1 (sgd, cosine), weight decay: 5e-05'
    assert lines[3] == 'input: 3 x 16 x 16'
    assert [line.partition(':')[0] for line in lines[4:]] == [
        'full network',
        'smallest network',
        'budget 50%',
        'search',
        'steps',
        'first steps',
        'expected',
    ]
    assert lines[8] == 'steps: 2 an epoch of the supernet, 2 in all; 3 of a network'  # a fifth is held out


def test_a_dry_run_without_the_data(tmp_path, capsys):
    command = ['search', '--recipe', CHEAP[0], '--data', f'cifar10:{tmp_path}', '--output', str(tmp_path / 'run')]
    assert cli.main([*command, '--dry-run']) == 0
    out = capsys.readouterr().out
    assert 'recipe: cifar10/vgg19-199M\n' in out
    assert '# not resolved: data ' in out
