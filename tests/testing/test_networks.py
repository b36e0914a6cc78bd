from __future__ import annotations

import pickle

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet.testing import SmallResNet, StagedResNet, digits


def test_digits_have_the_shapes_and_scale_that_are_promised() -> None:
    for split, size in (('train', 1197), ('test', 600)):
        images, labels = digits(split).tensors  # type: ignore[arg-type]
        assert images.shape == (size, 1, 8, 8)
        assert labels.shape == (size,)
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
        # 1797 images of ten digits, about as many of each.
        assert (labels.bincount() * 10 / size - 1).abs().max() < 0.05
    images, _ = digits('train').tensors
    assert abs(float(images.mean())) < 1e-5
    assert abs(float(images.std()) - 1) < 1e-3


def test_the_parts_are_fixed_and_disjoint() -> None:
    train, test = digits('train').tensors[0].flatten(1), digits('test').tensors[0].flatten(1)
    assert torch.equal(train, digits('train').tensors[0].flatten(1))
    # No two digits of this data set are alike, so equal pixels would be the same image.
    assert torch.cdist(test, train).min() > 0.1


def test_digits_default_is_training_and_other_words_are_refused() -> None:
    assert len(digits()) == 1197
    with pytest.raises(ValueError, match="'train' or 'test', not 'val'"):
        digits('val')  # type: ignore[arg-type]


def macs(model: torch.nn.Module) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 1, 8, 8))
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize('width', [1, 5, 16])
def test_the_network_has_the_size_worked_out_by_hand(width: int) -> None:
    w = width
    # 8x8: the stem, 4 convolutions of w x w. 4x4: w -> 2w, 3 of 2w x 2w, the shortcut. 2x2: that, doubled.
    first = 64 * (9 * w + 4 * 9 * w * w)
    second = 16 * (9 * 2 * w * w + 3 * 9 * 4 * w * w + 2 * w * w)
    third = 4 * (9 * 8 * w * w + 3 * 9 * 16 * w * w + 8 * w * w)
    assert macs(SmallResNet(width=width).eval()) == first + second + third + 4 * w * 10


def test_outputs() -> None:
    assert SmallResNet(num_classes=3)(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


@pytest.mark.filterwarnings('ignore:.*torch.jit:FutureWarning', 'ignore:.*torch.jit:DeprecationWarning')
def test_it_scripts_pickles_and_exports() -> None:
    model, example = SmallResNet(width=4).eval(), torch.randn(2, 1, 8, 8)
    expected = model(example)
    assert torch.equal(pickle.loads(pickle.dumps(model))(example), expected)
    torch.testing.assert_close(torch.jit.script(model)(example), expected)
    torch.testing.assert_close(torch.export.export(model, (example,)).module()(example), expected)


@pytest.mark.parametrize('arguments', [{'num_classes': 0}, {'width': 0}])
def test_sizes_below_one_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match='at least 1'):
        SmallResNet(**arguments)


def test_it_learns_the_digits_in_three_epochs() -> None:
    torch.manual_seed(0)
    images, labels = digits('train').tensors
    model, epochs, batch = SmallResNet(width=8), 3, 64
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = epochs * (len(images) // batch)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps, pct_start=0.2)
    for _ in range(steps):
        rows = torch.randperm(len(images))[:batch]
        optimizer.zero_grad()
        cross_entropy(model(images[rows]), labels[rows]).backward()
        optimizer.step()
        scheduler.step()
    test_images, test_labels = digits('test').tensors
    accuracy = (model.eval()(test_images).argmax(1) == test_labels).float().mean()
    assert accuracy > 0.9


def test_the_staged_network_has_the_size_worked_out_by_hand() -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        StagedResNet()(torch.zeros(1, 1, 14, 14))
    first = 49 * (9 * 32 + 2 * 9 * 32 * 32)  # 7x7: the stem, two convolutions
    second = 16 * (9 * 32 * 16 + 32 * 16 + 3 * 9 * 16 * 16)  # 4x4: one from 32 to 16, its shortcut, three of 16
    third = 4 * (9 * 16 * 12 + 16 * 12 + 3 * 9 * 12 * 12)
    assert counter.get_total_flops() // 2 == first + second + third + 120 == 1_133_144


@pytest.mark.parametrize('stages', [(), ((8,),), ((8, 8), (0, 4)), ((8, 8), ())])
def test_stages_without_a_block_or_a_width_are_refused(stages: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match='stages='):
        StagedResNet(stages)
