"""Small data sets in the real formats: the same for the same seed, of real pictures, with facts that can be seen."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image

from nni_cafenet.errors import DataError
from nni_cafenet.testing import (
    Items,
    items as sources,
    read_fashion_mnist,
    read_items,
    write_celeba,
    write_cifar,
    write_imagenet,
)
from nni_cafenet.testing.__main__ import main


@pytest.fixture(scope='module')
def items():
    return read_items('digits')


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


WRITERS = {
    'imagenet': lambda folder, items, **more: write_imagenet(folder, items, classes=3, train=2, val=1, **more),
    'cifar10': lambda folder, items, **more: write_cifar(folder, items, train=13, test=4, **more),
    'cifar100': lambda folder, items, **more: write_cifar(folder, items, 'cifar100', train=13, test=4, **more),
    'celeba': lambda folder, items, **more: write_celeba(folder, items, train=4, valid=2, test=1, **more),
}


@pytest.mark.parametrize('name', WRITERS)
def test_the_same_seed_writes_the_same_files(items, tmp_path, name):
    write = WRITERS[name]
    one, same, other = (
        contents(write(tmp_path / f'{number}', items, seed=seed)) for number, seed in enumerate((1, 1, 2))
    )
    assert one == same
    assert one.keys() == other.keys()
    assert one != other
    assert {path.name for path in tmp_path.iterdir()} == {'0', '1', '2'}


@pytest.mark.parametrize('name', WRITERS)
def test_a_folder_that_is_there_is_kept(items, tmp_path, name):
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'notes.txt').write_text('mine')
    with pytest.raises(ValueError, match='data exists already; give another folder'):
        WRITERS[name](tmp_path / 'data', items)


@pytest.mark.parametrize('name', WRITERS)
def test_nothing_is_left_of_one_that_failed(items, tmp_path, name):
    empty = Items(items['train'].pictures[:0], items['train'].labels[:0], items['train'].classes)
    with pytest.raises(ValueError, match='empty|a must'):
        WRITERS[name](tmp_path / 'data', {'train': empty, 'test': empty})
    assert not list(tmp_path.iterdir())


def test_parts_have_other_items(items):
    both = np.concatenate([part.pictures.reshape(len(part.pictures), -1) for part in items.values()])
    assert [len(part.pictures) for part in items.values()] == [1197, 600]
    assert all(set(part.labels) == set(range(10)) for part in items.values())
    assert len(np.unique(both, axis=0)) == len(both)


def test_imagenet(items, tmp_path):
    folder = write_imagenet(tmp_path / 'data', items, classes=3, train=4, val=2, size=40)
    files = sorted(folder.rglob('*.JPEG'))
    assert len(files) == 18
    assert sorted(each.name for each in (folder / 'val').iterdir()) == ['n00000000', 'n00000001', 'n00000002']
    sizes = np.array([Image.open(file).size for file in files])
    assert 40 <= sizes.min() < sizes.max() <= 60
    with pytest.raises(ValueError, match='classes=11 must be at most 10'):
        write_imagenet(tmp_path / 'more', items, classes=11)
    with pytest.raises(ValueError, match='train'):
        write_imagenet(tmp_path / 'more', items, train=0)


def test_cifar(items, tmp_path):
    home = write_cifar(tmp_path / 'data', items, train=23, test=10) / 'cifar-10-batches-py'
    batches = [pickle.loads((home / f'data_batch_{number}').read_bytes()) for number in range(1, 6)]
    assert [len(batch['labels']) for batch in batches] == [5, 5, 5, 4, 4]
    assert all(batch['data'].shape[1:] == (3072,) for batch in batches)
    test = pickle.loads((home / 'test_batch').read_bytes())
    assert sorted(test['labels']) == list(range(10))
    assert pickle.loads((home / 'batches.meta').read_bytes()) == {'label_names': list('0123456789')}
    few = {name: Items(part.pictures, part.labels, ('a', 'b')) for name, part in items.items()}
    with pytest.raises(ValueError, match='items have 2 classes; CIFAR needs 10'):
        write_cifar(tmp_path / 'more', few)


def test_celeba_has_facts_that_can_be_seen(items, tmp_path):
    home = write_celeba(tmp_path / 'data', items, train=120, valid=2, test=1) / 'celeba'
    count, names, *lines = (home / 'list_attr_celeba.txt').read_text().splitlines()
    rows = np.array([line.split()[1:] for line in lines], dtype=int) > 0
    facts = dict(zip(names.split(), rows.T))
    assert (int(count), len(facts), len(rows)) == (123, 40, 123)
    assert all(0 < fact.sum() < len(rows) for fact in facts.values())  # none is constant
    pictures = [np.asarray(Image.open(path), dtype=float) for path in sorted((home / 'img_align_celeba').iterdir())]
    assert {picture.shape for picture in pictures} == {(218, 178, 3)}
    spread = np.array([picture.std(axis=2).mean() for picture in pictures])
    assert spread[facts['Gray']].max() < spread[~facts['Gray']].min()
    light = np.array([picture.mean() for picture in pictures])
    assert light[facts['Light']].mean() > 1.5 * light[~facts['Light']].mean()


def test_the_command(tmp_path, capsys, monkeypatch):
    assert main([str(tmp_path), '--items', 'digits', '--scale', '0.002']) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f'--data imagefolder:{tmp_path / "imagenet"}'
    assert len(out) == 4
    before = contents(tmp_path)
    assert main([str(tmp_path), '--items', 'digits']) == 0
    assert contents(tmp_path) == before
    monkeypatch.setattr(sources, 'FASHION_MNIST_FOLDER', tmp_path / 'nothing')
    assert read_items()['train'].classes == tuple('0123456789')


@pytest.mark.parametrize('words', [['--scale', '0'], ['--seed', '-1'], ['--items', 'cats']])
def test_wrong_words(tmp_path, capsys, words):
    with pytest.raises(SystemExit):
        main([str(tmp_path), *words])
    assert f'{words[0]}' in capsys.readouterr().err


def test_fashion_mnist_that_is_not_installed(tmp_path):
    with pytest.raises(DataError, match='apt-get install dataset-fashion-mnist'):
        read_fashion_mnist(tmp_path)
    with pytest.raises(ValueError, match="source='cats' must be 'fashion-mnist', 'digits', or None"):
        read_items('cats')
