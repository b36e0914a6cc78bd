"""Untouched model, same outputs, exact costs (docs/contracts.md) on torchvision: one model of a kind; ``-m sweep``: all."""

from __future__ import annotations

import contextlib
import warnings

import pytest
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import WidthSpace

_LIST = torchvision.models.list_models
_DETECTORS = (
    'fasterrcnn_resnet50_fpn',
    'fasterrcnn_mobilenet_v3_large_320_fpn',
    'maskrcnn_resnet50_fpn',
    'retinanet_resnet50_fpn',
    'fcos_resnet50_fpn',
    'ssdlite320_mobilenet_v3_large',
    'ssd300_vgg16',
)
_LARGE = 2 * 10**8  # parameters from which on float32 has to do

ALL = {
    **dict.fromkeys(_LIST(module=torchvision.models), (1, 3, 224, 224)),
    'inception_v3': (1, 3, 299, 299),
    **dict.fromkeys(_LIST(module=torchvision.models.segmentation), (1, 3, 64, 64)),
    **dict.fromkeys(_DETECTORS, (1, 3, 128, 128)),
    **dict.fromkeys(('r3d_18', 'mc3_18', 'r2plus1d_18'), (1, 3, 4, 32, 32)),
}
FAST = {  # what neither the families nor the transformers of the other tests have
    'shufflenet_v2_x0_5': (1, 3, 32, 32),
    'lraspp_mobilenet_v3_large': (1, 3, 32, 32),
    'r2plus1d_18': (1, 3, 4, 16, 16),
}


def make(name: str):
    """A model with fresh weights in which no vector is constant; detectors keep all that they find."""
    torch.manual_seed(0)
    options = {'init_weights': False} if name in ('googlenet', 'inception_v3') else {}
    if name in (*_LIST(module=torchvision.models.segmentation), *_DETECTORS):
        options['weights_backbone'] = None
    if name.endswith('_fpn'):
        options.update(min_size=128, max_size=128)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        model = torchvision.models.get_model(name, weights=None, **options)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point() and tensor.dim() and bool((tensor == tensor.flatten()[0]).all()):
                tensor.add_(torch.rand_like(tensor) * (0.5 if tensor.dim() == 1 else 0.02))
    for module in model.modules():
        if hasattr(module, 'score_thresh'):
            module.score_thresh = 0.0
    return model


def arguments(name: str, shape, training: bool, dtype):
    samples = torch.rand((2 if training else 1, *shape[1:]), generator=torch.Generator().manual_seed(1)).to(dtype)
    if name not in _DETECTORS or not training:
        return (samples,)
    boxes = torch.tensor([[10.0, 10.0, 60.0, 70.0], [40.0, 30.0, 120.0, 100.0]], dtype=dtype)
    masks = torch.zeros(2, *shape[2:], dtype=torch.uint8)
    masks[:, 30:60, 40:60] = 1
    return (samples, [{'boxes': boxes, 'labels': torch.tensor([1, 2]), 'masks': masks}] * 2)


def outputs(model, given) -> list[torch.Tensor]:
    torch.manual_seed(0)  # the same dropout
    with torch.no_grad():
        return [leaf for leaf in torch.utils._pytree.tree_leaves(model(*given)) if isinstance(leaf, torch.Tensor)]


def check(name: str, shape, draw, kinds) -> None:
    space = WidthSpace(make(name), example_input=shape)
    large = space.params(space.full_widths) >= _LARGE
    dtype, tolerance = (torch.float32, 1e-4) if large else (torch.float64, 1e-9)
    if not large:
        space = WidthSpace(space.full_model.double(), example_input=shape) if name in _DETECTORS else space.double()
    assert space.labels
    assert space.macs(dict.fromkeys(space.labels, 1)) < 0.15 * space.macs(space.full_widths)
    for seed, kind in enumerate(kinds):
        widths, sets = draw(space, seed, kind)
        space.activate(widths, sets)
        slim = space.slim(widths, sets)
        assert space.params(widths) == sum(parameter.numel() for parameter in slim.parameters())
        for training in (False, True):
            given = arguments(name, shape, training, dtype)
            left, right = outputs(space.train(training), given), outputs(slim.train(training), given)
            assert [leaf.shape for leaf in left] == [leaf.shape for leaf in right]
            for a, b in zip(left, right):
                scale = b.abs().max().clamp_min(1e-30) if b.numel() else 1.0
                assert not b.numel() or float((a - b).abs().max() / scale) < tolerance, (kind, training)
        if (
            name not in _DETECTORS or kind == 'largest'
        ):  # with other weights a detector looks at another number of boxes
            with counted() as counter:
                outputs(slim.eval(), arguments(name, (1, *shape[1:]), False, dtype))
            assert space.macs(widths) * 2 == counter.get_total_flops()


@contextlib.contextmanager
def counted():
    """Count without fused attention, which no counter sees."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@pytest.mark.parametrize('name', FAST)
def test_one_of_every_kind(draw, name):
    check(name, FAST[name], draw, ('one', 'random'))


@pytest.mark.sweep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('name', ALL)
def test_all_of_torchvision(draw, name):
    check(name, ALL[name], draw, ('one', 'largest', 'random'))
