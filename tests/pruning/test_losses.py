from __future__ import annotations

import math
from collections import namedtuple

import pytest
import torch
import torchmetrics
from torch.nn.functional import cross_entropy

from nni_cafenet.pruning.losses import LOSSES, clear_loss, default_metrics, main_output, name_of, named, shape_of

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
CLASSES = torch.tensor([0, 1])
WithAux = namedtuple('WithAux', ['logits', 'aux_logits'])  # as GoogLeNet returns in training


@pytest.mark.parametrize(
    'output', [LOGITS, {'out': LOGITS, 'aux': 0}, WithAux(LOGITS, None), (LOGITS, 'state'), {'logits': LOGITS}]
)
def test_the_main_output(output):
    assert main_output(output) is LOGITS


def test_cross_entropy_by_hand():
    first = math.log(math.exp(2) + 2) - 2
    second = math.log(math.e + 2) - 0
    assert LOSSES['cross_entropy'](LOGITS, CLASSES).item() == pytest.approx((first + second) / 2)


@pytest.mark.parametrize(
    ('output', 'weight'), [({'out': LOGITS, 'aux': 2 * LOGITS}, 0.5), (WithAux(LOGITS, 2 * LOGITS), 0.3)]
)
def test_auxiliary_outputs_are_trained_too(output, weight):
    wanted = cross_entropy(LOGITS, CLASSES) + weight * cross_entropy(2 * LOGITS, CLASSES)
    torch.testing.assert_close(LOSSES['cross_entropy'](output, CLASSES), wanted)


def test_pixels_that_are_not_labeled_count_nothing():
    pixels = torch.randn(1, 3, 2, 2)
    target = torch.tensor([[[0, 1], [255, 255]]])
    wanted = cross_entropy(pixels[0, :, 0].T, torch.tensor([0, 1]))
    torch.testing.assert_close(LOSSES['cross_entropy'](pixels, target), wanted)


def test_several_labels_and_regression():
    labels = torch.tensor([[1, 0, 1]])
    wanted = (math.log(1 + math.exp(-2)) + math.log(2) + math.log(2)) / 3
    assert LOSSES['bce'](LOGITS[:1], labels).item() == pytest.approx(wanted)
    output = torch.tensor([1.0, 4.0], requires_grad=True)
    loss = LOSSES['mse'](output, torch.tensor([0.0, 2.0]).double())  # as NumPy has it
    loss.backward()
    assert (loss.item(), output.grad.tolist()) == (2.5, [1.0, 2.0])
    for loss in ('bce', 'mse'):  # torch would broadcast
        with pytest.raises(ValueError, match='shape .2,.,.* .2, 1.'):
            LOSSES[loss](torch.zeros(2, 1), torch.zeros(2))


def test_metrics_that_go_with_a_loss():
    (accuracy,) = default_metrics('cross_entropy', LOGITS, CLASSES).values()
    assert accuracy(LOGITS, CLASSES) == 0.5
    (labels,) = default_metrics('bce', LOGITS, None).values()
    assert labels(torch.tensor([[1.0, -1.0, 2.0]]), torch.tensor([[1.0, 1.0, 1.0]])) == pytest.approx(2 / 3)
    assert default_metrics('mse', LOGITS, None) == {}
    (iou,) = default_metrics('cross_entropy', torch.zeros(1, 2, 1, 4), torch.zeros(1, 1, 4)).values()
    iou.update(
        {'out': torch.tensor([[[[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]]])}, torch.tensor([[[0, 0, 0, 255]]])
    )
    assert iou.compute().item() == pytest.approx((2 / 3 + 0) / 2)  # 0, 0, 1 are said; the last pixel does not count


def test_classes_are_clear_and_nothing_else_is():
    assert clear_loss(LOGITS, CLASSES) == 'cross_entropy'
    assert clear_loss(torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long)) == 'cross_entropy'
    for target in (torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.long), None):
        with pytest.raises(ValueError, match="loss=None: .*'bce' .several labels."):
            clear_loss(LOGITS, target)


def test_metrics_have_names():
    def top1(output, target):
        return 0

    assert named(top1) == {'top1': top1}
    assert list(named(lambda output, target: 0)) == ['metric']
    assert list(named(torchmetrics.MeanSquaredError())) == ['MeanSquaredError']
    assert list(named({'a': top1, 'b': top1})) == ['a', 'b']
    for wrong in ('accuracy', {}, {'a': 3}):
        with pytest.raises(TypeError, match='metric='):
            named(wrong)


def test_words_for_errors():
    assert shape_of(torch.zeros(2, 3)) == 'a float32 tensor of shape (2, 3)'
    assert shape_of({}) == 'dict'
    assert name_of(cross_entropy) == 'cross_entropy'
