"""Scenes of small pictures: exact boxes, the same for the same seed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.datasets import load_digits

from nni_cafenet.testing import compose_scenes


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
