"""Scenes of real items, and the command that writes them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nni_cafenet.testing import FASHION_MNIST_CLASSES, __main__ as command, real_classes, real_scenes


@pytest.fixture
def without_fashion_mnist(monkeypatch, tmp_path):
    monkeypatch.setattr('nni_cafenet.testing.items.FASHION_MNIST_FOLDER', tmp_path / 'nothing')


def test_digits_stand_in_for_fashion_mnist(without_fashion_mnist):
    assert real_classes() == tuple('0123456789')
    scenes = list(real_scenes('train', 30))
    assert {len(scene.boxes) for scene in scenes} == {1, 2, 3, 4, 5, 6}
    sides = np.concatenate([scene.boxes[:, 2:] - scene.boxes[:, :2] for scene in scenes])
    assert sides.max() <= 36
    assert max(scene.picture.max() for scene in scenes) > 200
    assert {label for scene in scenes for label in scene.labels} == set(range(10))


def test_the_classes_are_those_of_the_items():
    assert real_classes() in (FASHION_MNIST_CLASSES, tuple('0123456789'))


def test_the_command_writes_both_formats(tmp_path, without_fashion_mnist, capsys):
    words = ['--coco', str(tmp_path / 'coco'), '--yolo', str(tmp_path / 'yolo'), '--train', '3', '--val', '2']
    assert command.main(words) == 0
    assert 'coco: 3 and 2 scenes of 0, 1' in capsys.readouterr().out
    for split, count in (('train', 3), ('val', 2)):
        record = json.loads((tmp_path / 'coco' / 'annotations' / f'instances_{split}.json').read_text())
        assert len(record['images']) == len(list((tmp_path / 'yolo' / 'images' / split).iterdir())) == count


@pytest.mark.parametrize(
    ('words', 'says'),
    [
        ([], 'give DIR, --coco DIR or --yolo DIR'),
        (['--coco', '{}'], 'is not empty; give a new folder'),
        (['--coco', '{}/new', '--val', '0'], '--val 0: must be 1 or more'),
        (['--coco', '{}/new', '--size', '20'], 'must fit into scenes of size=20'),
    ],
)
def test_bad_words(tmp_path, without_fashion_mnist, capsys, words, says):
    (tmp_path / 'file').write_text('x')
    with pytest.raises(SystemExit) as exit_:
        command.main([word.format(tmp_path) for word in words])
    assert exit_.value.code == 2
    assert says in ' '.join(capsys.readouterr().err.split())
    assert [each.name for each in tmp_path.iterdir()] == ['file']
