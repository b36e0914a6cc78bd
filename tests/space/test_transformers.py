"""The contracts (docs/contracts.md) on small models of torchvision that attend, normalize channels, or shuffle them."""

from __future__ import annotations

import functools
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from nni_cafenet import WidthSpace, load_slim
from nni_cafenet.slicing.selection import Selection, put, take

SIZE = 32


def swin(**options):
    make = models.swin_transformer.SwinTransformer
    return make([2, 2], 12, [1, 2], [2, 4], [4, 4], stochastic_depth_prob=0.0, num_classes=10, **options)


def swin_v2():
    own = models.swin_transformer
    return swin(block=own.SwinTransformerBlockV2, downsample_layer=own.PatchMergingV2)


def convnext():
    block = models.convnext.CNBlockConfig
    return models.convnext.ConvNeXt([block(8, 16, 1), block(16, None, 1)], layer_scale=0.5, num_classes=10)


def maxvit():
    options = {'stem_channels': 8, 'head_dim': 6, 'stochastic_depth_prob': 0.0, 'num_classes': 10}
    return models.maxvit.MaxVit((SIZE, SIZE), partition_size=4, block_channels=[12, 24], block_layers=[1, 1], **options)


MODELS = {
    'vit': lambda: models.VisionTransformer(SIZE, 8, 2, 2, 20, 32, num_classes=10),
    'swin': swin,
    'swin_v2': swin_v2,
    'convnext': convnext,
    'maxvit': maxvit,
    'shufflenet': lambda: models.shufflenet_v2_x0_5(num_classes=10),
}
every_model = pytest.mark.parametrize('name', MODELS)


def make(name: str) -> nn.Module:
    """Return the model with values of its own in every vector: ones and zeros would hide a wrong slice."""
    torch.manual_seed(0)
    model = MODELS[name]()
    with torch.no_grad():
        for key, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.dim() == 1 and tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + (0.5 if key.endswith(('weight', 'running_var')) else -0.5))
            elif tensor.dim() > 1 and tensor.is_floating_point() and not tensor.any():
                tensor.normal_(std=0.5)  # heads and class tokens start at zero
    return model


@functools.cache
def space_of(name: str) -> WidthSpace:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return WidthSpace(functools.partial(make, name), example_input=(1, 3, SIZE, SIZE)).double()


@pytest.fixture
def space(name):
    """The space of a model, in float64 and evaluation mode."""
    space = space_of(name).eval()
    buffers = {key: buffer.clone() for key, buffer in space.named_buffers()}
    yield space
    with torch.no_grad():
        for key, buffer in space.eval().named_buffers():
            buffer.copy_(buffers[key])
    space.zero_grad(set_to_none=True)
    space.activate(space.full_widths)


@pytest.fixture(autouse=True)
def counted_attention():
    """Fused kernels of ``nn.MultiheadAttention`` hide products from torch's counter."""
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


def pictures(batch: int) -> torch.Tensor:
    return torch.randn(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def output(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)  # the same dropout
    return model(x)


@every_model
@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
@pytest.mark.parametrize('kind', ['one', 'smallest', 'largest', 'random'])
def test_the_supernet_computes_what_the_slim_model_computes(space, draw, training, kind):
    widths, sets = draw(space, 7, kind)
    slim = space.train(training).slim(widths, sets)
    space.activate(widths, sets)
    with torch.no_grad():
        torch.testing.assert_close(output(space, pictures(3)), output(slim, pictures(3)), rtol=1e-9, atol=1e-9)


@every_model
def test_fused_attention_gives_the_same(space, draw):
    widths, sets = draw(space, 8)
    slim = space.slim(widths, sets)
    with torch.no_grad():
        expected = output(slim, pictures(3))
        torch.backends.mha.set_fastpath_enabled(True)
        torch.testing.assert_close(output(slim, pictures(3)), expected, rtol=1e-9, atol=1e-9)


@every_model
def test_macs_and_parameters_are_those_that_torch_counts(space, draw):
    for seed, kind in enumerate(['one', 'smallest', 'largest', 'random', 'random']):
        widths = draw(space, seed, kind)[0]
        slim = space.slim(widths)
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            slim(pictures(1))
        assert space.macs(widths) == counter.get_total_flops() / 2, kind
        assert space.params(widths) == sum(parameter.numel() for parameter in slim.parameters())


@every_model
def test_gradients_are_those_of_the_slim_model_and_zero_elsewhere(space, draw):
    widths, sets = draw(space.train(), 5)
    slim = space.slim(widths, sets)
    space.activate(widths, sets)
    for model in (space, slim):
        output(model, pictures(3)).square().sum().backward()
    positions = Selection(space.graph, sets).positions
    own = dict(space.named_parameters())
    for key, parameter in slim.named_parameters():
        if parameter.grad is None:
            assert own[key].grad is None
            continue
        where = positions.get(key, (None,) * parameter.dim())
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(take(own[key].grad, where), parameter.grad, rtol=1e-8, atol=1e-9 * scale + 1e-12)
        rest = own[key].grad.clone()
        put(rest, where, torch.zeros_like(parameter))
        assert not rest.any(), key


@every_model
def test_channels_in_another_order_compute_the_same(space, same_in_any_order):
    same_in_any_order(space, pictures(3))


@every_model
def test_slim_models_are_plain_and_load_from_disk(space, draw, tmp_path, name):
    widths, sets = draw(space, 11)
    slim = space.save_slim(tmp_path, widths, sets)
    assert not [type(module) for module in slim.modules() if type(module).__module__.startswith('nni')]
    loaded = load_slim(lambda: make(name).double(), tmp_path).eval()
    expected = output(slim, pictures(2))
    torch.testing.assert_close(output(loaded, pictures(2)), expected, rtol=0, atol=0)
    torch.testing.assert_close(output(pickle.loads(pickle.dumps(slim)), pictures(2)), expected, rtol=0, atol=0)
    for key, module in slim.named_modules():
        assert loaded.get_submodule(key).extra_repr() == module.extra_repr()


def test_streams_of_attention_keep_their_heads():
    found = {group.label: group for group in space_of('vit').graph.groups}
    assert found['conv_proj'].width == 10  # 2 heads of 10 channels: one channel of the group is one of every head
    assert all('self_attention' not in record.label for record in space_of('vit').graph.fixed)
    slim = space_of('vit').slim({**space_of('vit').full_widths, 'conv_proj': 7})
    attention = slim.encoder.layers[0].self_attention
    assert (attention.embed_dim, attention.num_heads, attention.head_dim, slim.hidden_dim) == (14, 2, 7, 14)
    assert attention.in_proj_weight.shape == (42, 14)
    swins = {group.label: group.width for group in space_of('swin').graph.groups}
    assert (swins['features.0.0'], swins['features.2.reduction']) == (6, 6)  # 12 in 2 heads, 24 in 4
    stage = space_of('maxvit').slim({**space_of('maxvit').full_widths, 'blocks.0.layers.0.layers.MBconv.proj.1': 5})
    assert stage.blocks[0].layers[0].layers.window_attention.attn_layer[1].head_dim == 5


@pytest.mark.parametrize('name', ['vit', 'swin', 'swin_v2', 'convnext', 'maxvit'])
def test_nearly_all_macs_can_change(space):
    ones = np.ones((1, len(space.labels)), dtype=np.int64)
    assert space.macs(ones)[0] < 0.1 * space.macs(space.full_widths)
