"""COCO's metric of boxes."""

from __future__ import annotations

import pytest
import torch

from nni_cafenet.pruning import BoxPrecision


def target(boxes, labels, **more):
    return {'boxes': torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), 'labels': torch.tensor(labels), **more}


def found(boxes, labels, scores):
    return {**target(boxes, labels), 'scores': torch.tensor(scores)}


TRUE = [[10, 10, 50, 50], [60, 60, 90, 90]]


def value_of(*pairs):
    metric = BoxPrecision()
    for detections, targets in pairs:
        metric.update([detections], [targets])
    return float(metric.compute())


def test_values_by_hand():
    assert value_of((found(TRUE, [1, 2], [0.9, 0.8]), target(TRUE, [1, 2]))) == pytest.approx(1)
    assert value_of((found(TRUE, [2, 1], [0.9, 0.8]), target(TRUE, [1, 2]))) == 0
    assert value_of((found(TRUE[:1], [1], [0.9]), target(TRUE, [1, 2]))) == pytest.approx(0.5)
    # An overlap of 0.75: right at the thresholds 0.5, 0.55, ..., 0.75, which are six of ten.
    assert value_of((found([[10, 10, 50, 40]], [1], [0.9]), target(TRUE[:1], [1]))) == pytest.approx(0.6)


def test_crowds_are_neither_right_nor_wrong():
    crowds = {'crowds': torch.tensor([[60.0, 60, 90, 90]]), 'crowd_labels': torch.tensor([1])}
    detections = found(TRUE, [1, 1], [0.5, 0.9])
    assert value_of((detections, target(TRUE[:1], [1], **crowds))) == pytest.approx(1)
    assert value_of((detections, target(TRUE[:1], [1]))) < 0.6


def test_no_boxes():
    assert value_of((found([], [], []), target([], []))) == 0
    half = {
        name: each.half() if each.is_floating_point() else each
        for name, each in found(TRUE, [1, 2], [0.9, 0.8]).items()
    }
    assert value_of((half, target(TRUE, [1, 2]))) == pytest.approx(1)
