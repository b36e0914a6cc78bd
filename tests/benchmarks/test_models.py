import copy
import importlib.util
import re

import pytest
import torch
from torch import nn

from zoo.measures import run
from zoo.models import FAMILIES, LIBRARIES, Case, cases, same_boxes
from zoo.timm_models import TIMM_MODELS
from zoo.ultralytics_models import without_maps


def test_every_family_is_there():
    found = [case.family for case in cases().values()]
    missing = {name for name, library in LIBRARIES.items() if importlib.util.find_spec(library.package) is None}
    assert set(found) == set(FAMILIES) - missing
    assert found.count('classification') >= 80
    assert (found.count('segmentation'), found.count('detection'), found.count('video')) == (6, 7, 3)


def test_each_family_of_timm_once():
    families = [re.split(r'[_\d]', name)[0] for name in TIMM_MODELS]
    assert len(set(families)) == len(families) >= 150


@pytest.mark.parametrize('family', LIBRARIES)
def test_models_of_other_packages_are_small_and_of_fresh_weights(family):
    pytest.importorskip(LIBRARIES[family].package)
    names = [case.name for case in cases().values() if case.family == family]
    assert len(names) == len(LIBRARIES[family].shapes()) >= 12
    assert all(name.startswith(f'{family}:') for name in names)


@pytest.mark.parametrize(
    'name',
    [
        'timm:resnet10t',
        'ultralytics:yolov8n-cls',
        'transformers:clip',
        'transformers:whisper',
        'smp:Linknet',
        'monai:UNet',
    ],
)
def test_a_model_of_another_package_runs_in_both_modes(name):
    family = name.partition(':')[0]
    pytest.importorskip(LIBRARIES[family].package)
    case = cases()[name]
    model = case.make()
    assert not model.training
    assert all(len(tensor) == 1 for tensor in run(model, case.arguments())[:1])
    assert all(len(tensor) == 2 for tensor in run(model.train(), case.arguments(training=True))[:1])


def test_tokens_stay_whole_numbers_in_every_precision():
    case = Case('transformers:clip', 'transformers', (3, 64, 64))
    found = case.arguments(training=True, dtype=torch.float64)
    assert {name: (tuple(each.shape), each.dtype) for name, each in found.items()} == {
        'pixel_values': ((2, 3, 64, 64), torch.float64),
        'input_ids': ((2, 16), torch.int64),
    }
    assert case.outputs == ('logits_per_image',)


def test_maps_that_the_head_of_a_yolo_reads_do_not_count():
    assert without_maps(('boxes', {'scores': 1, 'feats': [2], 'more': {'feats': 3, 'masks': 4}})) == [
        'boxes',
        {'scores': 1, 'more': {'masks': 4}},
    ]


@pytest.mark.parametrize(
    ('name', 'shape', 'classes'),
    [
        ('resnet18', (3, 224, 224), 1000),
        ('inception_v3', (3, 299, 299), 1000),
        ('fcn_resnet50', (3, 224, 224), 21),
        ('ssd300_vgg16', (3, 300, 300), 91),
        ('r3d_18', (3, 8, 112, 112), 400),
    ],
)
def test_inputs_and_classes(name, shape, classes):
    case = cases()[name]
    assert (case.shape, case.classes) == (shape, classes)


def test_models_are_the_same_each_time_and_have_no_constant_vector():
    case = cases()['squeezenet1_1']
    first, second = case.make(), case.make()
    assert not first.training
    for (name, left), right in zip(first.named_parameters(), second.parameters()):
        assert torch.equal(left, right), name
        assert left.numel() == 1 or not bool((left == left.flatten()[0]).all()), name


def test_training_takes_two_samples():
    case = Case('any', 'video', (3, 2, 4, 4))
    (one,), (two,) = case.arguments(dtype=torch.float64), case.arguments(training=True)
    assert (one.shape, one.dtype) == ((1, 3, 2, 4, 4), torch.float64)
    assert two.shape == (2, 3, 2, 4, 4)


def test_detectors_take_pictures_and_in_training_two_boxes_each():
    case = Case('any', 'detection', (3, 40, 40))
    (pictures,) = case.arguments()
    assert pictures.shape == (1, 3, 40, 40)
    assert 0 < pictures.min() < pictures.max() < 1
    pictures, targets = case.arguments(training=True)
    assert len(pictures) == len(targets) == 2
    assert targets[0]['boxes'].tolist() == [[4, 4, 20, 24], [16, 12, 36, 32]]
    assert targets[0]['masks'].sum(dim=(1, 2)).tolist() == [16 * 20, 20 * 20]


class _Proposals(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return [x * self.scale], {'loss': self.scale * 2}


class _Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.box = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.box.weight)

    def forward(self, proposals):
        values = self.box(proposals[0][:, None])
        if self.training:
            return values
        return self.postprocess_detections(values, -values, proposals)

    def postprocess_detections(self, logits, moves, proposals):
        chosen = logits.flatten() > 1.5
        return [proposals[0][chosen]], [logits.flatten()[chosen]], [chosen.nonzero().flatten()]


class _TwoStages(nn.Module):
    def __init__(self):
        super().__init__()
        self.rpn = _Proposals()
        self.roi_heads = _Heads()

    def forward(self, x):
        proposals, losses = self.rpn(x)
        return proposals, losses, self.roi_heads(proposals)


X = torch.tensor([1.0, 2.0])


def test_proposals_of_the_first_call_in_a_mode_are_given_to_copies_with_other_weights():
    model = _TwoStages()
    with same_boxes(model):
        model.eval()(X)
        model.train()(10 * X)
        other = copy.deepcopy(model)
        with torch.no_grad():
            other.rpn.scale.fill_(3.0)
        boxes, losses, _ = other.eval()(X)
        assert boxes[0].tolist() == [1.0, 2.0]
        assert losses['loss'].item() == 6.0
        assert other.train()(X)[0][0].tolist() == [10.0, 20.0]
    assert model.eval()(5 * X)[0][0].tolist() == [5.0, 10.0]


def test_detections_of_the_first_call_are_given_with_all_that_the_box_head_computes():
    model = _TwoStages().eval()
    with same_boxes(model):
        model(X)
        other = copy.deepcopy(model)
        with torch.no_grad():
            other.roi_heads.box.weight.fill_(0.5)  # alone it would find nothing
        boxes, scores, labels = other(X)[2]
        assert (boxes[0].tolist(), labels[0].tolist()) == ([2.0], [1])
        assert scores[0].tolist() == [0.5, 1.0, -0.5, -1.0]
    boxes, scores, labels = model(X)[2]
    assert scores[0].tolist() == [2.0]


def test_models_of_one_stage_are_left_alone():
    model = nn.Linear(2, 1)
    with same_boxes(model):
        assert not model._forward_hooks
