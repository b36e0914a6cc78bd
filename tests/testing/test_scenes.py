"""Scenes of real pictures: exact boxes, the same for the same seed, and the formats of COCO and YOLO."""

from __future__ import annotations

import itertools
import json

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


def test_boxes_are_exactly_around_the_items(items):
    pictures, labels = items
    for scene in compose_scenes(pictures, labels, 20, size=40, items=(1, 4), scales=(1.0, 2.0), overlap=0.0):
        bright = scene.picture.max(2) >= 40  # the background is darker
        left_over = bright.copy()
        for left, top, right, bottom in scene.boxes:
            inside = bright[top:bottom, left:right]
            assert inside.any(1)[[0, -1]].all()
            assert inside.any(0)[[0, -1]].all()
            left_over[top:bottom, left:right] = False
        assert not left_over.any()


def test_numbers_of_items_and_overlaps_are_those_asked_for(items):
    scenes = list(compose_scenes(*items, 60, size=48, items=(2, 5), overlap=0.5))
    assert {len(scene.boxes) for scene in scenes} == {2, 3, 4, 5}
    shares = []
    for scene in scenes:
        assert scene.boxes.min() >= 0
        assert scene.boxes.max() <= 48
        for one, other in itertools.combinations(scene.boxes, 2):
            both = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None).prod()
            shares.append(both / min((box[2:] - box[:2]).prod() for box in (one, other)))
    assert 0.2 < max(shares) <= 0.5
    assert {label for scene in scenes for label in scene.labels} == set(range(10))


def test_the_same_seed_gives_the_same_scenes(items):
    one, same, other = (list(compose_scenes(*items, 3, size=32, seed=seed)) for seed in (1, 1, 2))
    for a, b in zip(one, same):
        np.testing.assert_array_equal(a.picture, b.picture)
        np.testing.assert_array_equal(a.boxes, b.boxes)
    assert any((a.picture != b.picture).any() for a, b in zip(one, other))


def test_coco_format(items, tmp_path):
    scenes = list(compose_scenes(*items, 4, size=32))
    record = json.loads(write_coco(tmp_path / 'coco', scenes, CLASSES).read_text())
    assert [category['name'] for category in record['categories']] == CLASSES
    assert [each['id'] for each in record['annotations']] == list(range(1, sum(len(s.boxes) for s in scenes) + 1))
    for image, scene in zip(record['images'], scenes):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'coco' / image['file_name'])), scene.picture)
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


@pytest.mark.parametrize(
    ('change', 'names'),
    [
        ({'pictures': np.zeros((2, 8, 8))}, 'pictures'),
        ({'labels': [0]}, 'pictures'),
        ({'count': -1}, 'count=-1'),
        ({'items': (0, 2)}, 'items'),
        ({'scales': (1.0, 9.0)}, 'scales'),
        ({'overlap': 2}, 'overlap=2'),
        ({'size': 4}, 'size=4'),
    ],
)
def test_bad_arguments_are_named(change, names):
    options = {'pictures': np.ones((2, 8, 8), np.uint8), 'labels': [0, 1], 'count': 1, 'size': 32, **change}
    with pytest.raises(ValueError, match=names):
        compose_scenes(options.pop('pictures'), options.pop('labels'), options.pop('count'), **options)
