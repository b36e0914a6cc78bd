"""Scenes in the formats of COCO and YOLO."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from nni_cafenet.testing import compose_scenes, write_coco, write_yolo

CLASSES = [f'digit "{number}"' for number in range(10)]


@pytest.fixture(scope='module')
def items():
    pixels, labels = load_digits(return_X_y=True)
    return (pixels.reshape(-1, 8, 8) * 15).astype(np.uint8), labels


def test_coco_format(items, tmp_path):
    scenes = {split: list(compose_scenes(*items, 4, size=32, seed=seed)) for seed, split in enumerate(('train', 'val'))}
    assert write_coco(tmp_path / 'coco', scenes, CLASSES) == tmp_path / 'coco'
    assert sorted(each.name for each in (tmp_path / 'coco').iterdir()) == ['annotations', 'train', 'val']
    for split, written in scenes.items():
        record = json.loads((tmp_path / 'coco' / 'annotations' / f'instances_{split}.json').read_text())
        assert [category['name'] for category in record['categories']] == CLASSES
        assert [each['id'] for each in record['annotations']] == list(range(1, sum(len(s.boxes) for s in written) + 1))
        for image, scene in zip(record['images'], written):
            file = tmp_path / 'coco' / split / image['file_name']
            np.testing.assert_array_equal(np.asarray(Image.open(file)), scene.picture)
            own = [each for each in record['annotations'] if each['image_id'] == image['id']]
            boxes = np.array([each['bbox'] for each in own])
            boxes[:, 2:] += boxes[:, :2]
            np.testing.assert_array_equal(boxes, scene.boxes)
            assert [each['category_id'] - 1 for each in own] == scene.labels.tolist()


def test_yolo_format(items, tmp_path):
    scenes = {split: list(compose_scenes(*items, 3, size=32, seed=seed)) for seed, split in enumerate(('train', 'val'))}
    record = yaml.safe_load(write_yolo(tmp_path / 'y', scenes, CLASSES).read_text())
    assert record['names'] == dict(enumerate(CLASSES))
    for split, written in scenes.items():
        folder = tmp_path / 'y' / record[split]
        assert record['path'] == str(tmp_path / 'y')
        for file, scene in zip(sorted(folder.iterdir()), written):
            text = (tmp_path / 'y' / 'labels' / split / f'{file.stem}.txt').read_text().split('\n')[:-1]
            rows = np.array([[float(number) for number in line.split()] for line in text])
            middle, sides = rows[:, 1:3] * 32, rows[:, 3:] * 32
            np.testing.assert_allclose(np.hstack([middle - sides / 2, middle + sides / 2]), scene.boxes, atol=1e-3)
            assert rows[:, 0].tolist() == scene.labels.tolist()


KILLED = """
import os, signal, sys
from nni_cafenet import testing

def scenes():
    yield from testing.real_scenes('train', 2, size=64)
    os.kill(os.getpid(), signal.SIGKILL)

splits = {'train': scenes(), 'val': testing.real_scenes('test', 2, size=64)}
getattr(testing, sys.argv[1])(sys.argv[2], splits, testing.real_classes())
"""


@pytest.mark.parametrize('name', ['write_coco', 'write_yolo'])
def test_a_writer_that_was_killed_leaves_no_folder_and_can_be_repeated(items, tmp_path, name):
    paths = [str(Path(__file__).parents[2]), os.environ.get('PYTHONPATH', '')]
    done = subprocess.run(
        [sys.executable, '-c', KILLED, name, str(tmp_path / 'data')],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths)},
        timeout=120,
    )
    assert done.returncode < 0
    assert not (tmp_path / 'data').exists()
    write = {'write_coco': write_coco, 'write_yolo': write_yolo}[name]
    write(tmp_path / 'data', {'train': compose_scenes(*items, 2, size=32)}, CLASSES)
    assert (tmp_path / 'data').exists()


@pytest.mark.parametrize('write', [write_coco, write_yolo])
def test_a_writer_that_failed_leaves_nothing(items, tmp_path, write):
    def scenes():
        yield from compose_scenes(*items, 2, size=32)
        raise OSError('full')

    with pytest.raises(OSError, match='full'):
        write(tmp_path / 'data', {'train': scenes()}, CLASSES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('write', [write_coco, write_yolo])
def test_an_empty_folder_is_filled_and_another_one_kept(items, tmp_path, write):
    (tmp_path / 'data').mkdir()
    write(tmp_path / 'data', {'train': compose_scenes(*items, 2, size=32)}, CLASSES)
    before = sorted((tmp_path / 'data').rglob('*'))
    with pytest.raises(ValueError, match='data exists already'):
        write(tmp_path / 'data', {'train': compose_scenes(*items, 3, size=32)}, CLASSES)
    assert sorted((tmp_path / 'data').rglob('*')) == before
