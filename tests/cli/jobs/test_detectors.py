"""The size of a detector's pictures."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import get_model

from nni_cafenet.cli.jobs.detectors import check_picture_size, picture_size, size_arguments
from nni_cafenet.errors import ModelSpecError

WITHOUT = {'weights': None, 'weights_backbone': None}


@pytest.mark.parametrize(
    ('name', 'shape', 'expected'),
    [
        ('retinanet_resnet50_fpn', [1, 3, 800, 800], {'min_size': 800, 'max_size': 1333}),
        ('torchvision.models.detection:fasterrcnn_resnet50_fpn', [1, 3, 96, 128], {'min_size': 96, 'max_size': 160}),
        ('fcos_resnet50_fpn', [1, 3, 300, 900], {'min_size': 300, 'max_size': 900}),
        ('retinanet_resnet50_fpn', None, {}),
        ('ssdlite320_mobilenet_v3_large', [1, 3, 320, 320], {}),
        ('ssd300_vgg16', [1, 3, 300, 300], {}),
        ('resnet50', [1, 3, 224, 224], {}),
        ('my.package:detector', [1, 3, 224, 224], {}),
    ],
)
def test_an_input_is_the_size_to_which_pictures_are_resized(name, shape, expected):
    assert size_arguments(name, shape) == expected


def test_a_detector_says_its_size():
    with torch.device('meta'):
        small = get_model(
            'retinanet_resnet50_fpn', **WITHOUT, **size_arguments('retinanet_resnet50_fpn', [1, 3, 96, 96])
        )
        plain = get_model('retinanet_resnet50_fpn', **WITHOUT)
    assert (picture_size(small), picture_size(plain)) == ((96, 96), (800, 800))
    assert picture_size(torch.nn.Linear(1, 1)) is None
    check_picture_size('retinanet', plain, [1, 3, 96, 96])  # it takes any size


def test_an_ssd_has_one_size():
    model = get_model('ssdlite320_mobilenet_v3_large', **WITHOUT)
    check_picture_size('ssdlite', model, [1, 3, 320, 320])
    with pytest.raises(
        ModelSpecError, match='resizes every picture to 320 x 320, but --input says 64 x 96; give --input'
    ):
        check_picture_size('ssdlite', model, [1, 3, 64, 96])
