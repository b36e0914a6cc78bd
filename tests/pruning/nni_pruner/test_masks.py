from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from nni.compression.pruning import L1NormPruner
from nni.compression.speedup import ModelSpeedup
from torch import nn
from torch.nn import functional

from nni_cafenet import WidthSpace
from nni_cafenet.analysis.verification import beyond_masks
from nni_cafenet.analysis.verification.draw import random_channel_sets
from nni_cafenet.pruning.nni_pruner.masks import apply_masks, masks_of
from nni_cafenet.slicing.selection import Selection
from nni_cafenet.slim.extract import write_back
from nni_cafenet.testing import SmallResNet

PICTURE = (2, 3, 6, 6)


def forward(net, x):
    """Everything that reads channels: a gate, depthwise and grouped convolutions, a sum, a join, a flattened map."""
    x = torch.sigmoid(net.norm(net.stem(x)))  # not zero where its input is zero
    x = x + net.project(net.depthwise(net.expand(x)).relu())
    x = x * (net.squeeze(x.mean((2, 3), keepdim=True)).exp() + net.scale)
    x = torch.cat([functional.gelu(net.left(x)) + 1, net.right(x).cos()], 1)
    x = net.grouped(x).flatten(1)
    return net.head(functional.softplus(net.hidden(x)))


@pytest.fixture(scope='module')
def mixed_net(wired):
    return wired(
        forward,
        stem=nn.Conv2d(3, 6, 3),
        norm=nn.BatchNorm2d(6),
        expand=nn.Conv2d(6, 10, 1),
        depthwise=nn.Conv2d(10, 10, 3, padding=1, groups=10),
        project=nn.Conv2d(10, 6, 1),
        squeeze=nn.Conv2d(6, 6, 1),
        scale=nn.Parameter(torch.rand(1, 6, 1, 1)),
        left=nn.Conv2d(6, 4, 1),
        right=nn.Conv2d(6, 5, 3, padding=1, bias=False),
        grouped=nn.Conv2d(9, 9, 3, padding=1, groups=3),
        hidden=nn.Linear(9 * 16, 12),
        head=nn.Linear(12, 3),
    )


@pytest.fixture(scope='module')
def spaces(mixed_net):
    torch.manual_seed(0)
    return {
        'residual': (WidthSpace(SmallResNet(width=6), example_input=(2, 1, 8, 8), verify=False), (2, 1, 8, 8)),
        'mixed': (WidthSpace(mixed_net, example_input=PICTURE, verify=False), PICTURE),
    }


def outputs(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found = module.eval()(x)
    return found if isinstance(found, torch.Tensor) else next(iter(found.values()))


def compare(space: WidthSpace, sets, shape) -> float:
    """How far the masked model is from the slim one, in shares of the largest output; in float64."""
    space.double().eval()
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = copy.deepcopy(space.full_model)
    apply_masks(whole, masks_of(space, sets))
    slim = outputs(space.slim({**space.full_widths, **{label: len(each) for label, each in sets.items()}}, sets), x)
    return float((outputs(whole, x) - slim).abs().max() / slim.abs().max())


# --- masks ----------------------------------------------------------------------------------------


def test_masks_by_hand(wired):
    model = wired(
        lambda net, x: net.b(net.norm(net.a(x)).relu()) * net.shift,
        a=nn.Conv2d(2, 3, 1),
        norm=nn.BatchNorm2d(3),
        b=nn.Conv2d(3, 2, 1, bias=False),
        shift=nn.Parameter(torch.ones(1, 2, 1, 1)),
    )
    space = WidthSpace(model, example_input=(1, 2, 2, 2), verify=False)
    masks = masks_of(space, {'a': torch.tensor([0, 2])})
    assert {name: list(own) for name, own in masks.items()} == {
        'a': ['weight', 'bias'],
        'norm': ['weight', 'bias'],
        'b': ['weight'],
    }
    assert masks['a']['weight'].shape == (3, 2, 1, 1)
    assert masks['a']['weight'].flatten(1).tolist() == [[1, 1], [0, 0], [1, 1]]
    assert (
        masks['a']['bias'].tolist() == masks['norm']['weight'].tolist() == masks['norm']['bias'].tolist() == [1, 0, 1]
    )
    assert masks['b']['weight'].flatten(1).tolist() == [[1, 0, 1], [1, 0, 1]]
    assert not any(mask.requires_grad for own in masks.values() for mask in own.values())


def test_bare_and_tied_parameters(wired):
    first = nn.Linear(6, 6, bias=False)
    second = nn.Linear(6, 6, bias=False)
    second.weight = first.weight
    model = wired(
        lambda net, x: net.head(net.second(net.first(net.stem(x) * net.scale))),
        stem=nn.Linear(4, 6),
        scale=nn.Parameter(torch.rand(6) + 1),
        first=first,
        second=second,
        head=nn.Linear(6, 2),
    )
    space = WidthSpace(model, example_input=(2, 4), verify=False)
    (label,) = space.labels
    sets = {label: torch.tensor([1, 4])}
    masks = masks_of(space, sets)
    assert masks['']['scale'].tolist() == [0, 1, 0, 0, 1, 0]
    assert torch.equal(masks['first']['weight'], masks['second']['weight'])
    assert masks['first']['weight'].sum() == 4
    assert compare(space, sets, (2, 4)) <= 1e-9


def test_whole_widths_have_masks_of_ones(spaces):
    space, _ = spaces['residual']
    masks = masks_of(space, {})
    assert all(bool((mask == 1).all()) for own in masks.values() for mask in own.values())
    assert {name for name, module in space.full_model.named_modules() if module._parameters} - masks.keys() == set()


@pytest.mark.parametrize('name', ['residual', 'mixed'])
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_the_masked_model_is_the_slim_model(spaces, name, seed):
    space, shape = spaces[name]
    sets = random_channel_sets(space.graph, space.labels, np.random.default_rng(seed))
    assert compare(space, sets, shape) <= 1e-9


@pytest.mark.sweep
@pytest.mark.parametrize('name', [
    'resnet18', 'resnet50', 'resnext50_32x4d', 'vgg11_bn', 'mobilenet_v2', 'mobilenet_v3_small', 'efficientnet_b0',
    'mnasnet0_5', 'densenet121', 'squeezenet1_1', 'regnet_y_400mf', 'googlenet',
])  # fmt: skip
def test_families(family, name):
    space = family(name)
    assert beyond_masks(space.full_model, space.graph, space.example_input) == {}
    for seed in range(3):
        sets = random_channel_sets(space.graph, space.labels, np.random.default_rng(seed))
        size = space.example_input.tensors()[0].shape[2:]
        assert compare(space, sets, (2, 3, *size)) <= 1e-9


@pytest.mark.parametrize(
    ('sets', 'said'),
    [
        ({'conv': [0]}, "unknown label 'conv'"),
        ({'conv1': [2, 1]}, r"channel_sets\['conv1'\] must be 2 ascending channel indices below 6"),
        ({'conv1': [6]}, 'must be 1 ascending channel indices below 6'),
    ],
)
def test_channels_that_are_none(spaces, sets, said):
    with pytest.raises(ValueError, match=said):
        masks_of(spaces['residual'][0], sets)


# --- applying them --------------------------------------------------------------------------------


def test_masks_of_nnis_own_pruners():
    model = SmallResNet(width=4)
    pruner = L1NormPruner(copy.deepcopy(model), [{'op_names': ['conv1', 'fc'], 'sparse_ratio': 0.5}])
    _, masks = pruner.compress()
    assert masks['conv1']['bias'] is None
    apply_masks(model, masks)
    assert int((model.conv1.weight.abs().sum((1, 2, 3)) == 0).sum()) == 2
    assert int((model.fc.weight.abs().sum(1) == 0).sum()) == 5


@pytest.mark.parametrize(
    ('masks', 'said'),
    [
        (
            {'fc': {'weight': torch.ones(3)}},
            r"masks\['fc'\]\['weight'\] has shape \(3,\)",
        ),
        (
            {'fc': {'scale': torch.ones(3)}},
            'the model has no such parameter',
        ),
        ({'what': {'weight': torch.ones(3)}}, 'the model has no such parameter'),
    ],
)
def test_masks_of_another_model(masks, said):
    with pytest.raises(ValueError, match=said):
        apply_masks(SmallResNet(), masks)


def test_a_trained_slim_model_goes_back_into_the_full_one(spaces):
    space, shape = spaces['mixed']
    space.double().eval()
    sets = random_channel_sets(space.graph, space.labels, np.random.default_rng(0))
    slim = space.slim({label: len(each) for label, each in sets.items()}, sets)
    with torch.no_grad():
        for parameter in slim.parameters():
            parameter.mul_(1.25)  # as if trained
    model = copy.deepcopy(space.full_model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    write_back(slim, model, Selection(space.graph, sets))
    removed = [(mask == 0, owner, leaf) for owner, own in masks_of(space, sets).items() for leaf, mask in own.items()]
    for gone, owner, leaf in removed:
        name = f'{owner}.{leaf}' if owner else leaf
        assert torch.equal(model.state_dict()[name][gone], before[name][gone])  # what is removed stays as it was
    apply_masks(model, masks_of(space, sets))
    x = torch.randn(shape, dtype=torch.float64)
    expected = outputs(slim, x)
    assert float((outputs(model, x) - expected).abs().max()) <= 1e-9 * float(expected.abs().max())
    with pytest.raises(ValueError, match=r'slim: .* has shape .*; what is selected of it has'):
        write_back(slim, model, Selection(space.graph, {}))
    with pytest.raises(ValueError, match='slim: other tensors than those of the model'):
        write_back(nn.Linear(2, 2), model, Selection(space.graph, sets))


# --- what they cannot express ---------------------------------------------------------------------


class Heads(nn.Module):
    """Attention whose logits are scaled by the width of a head."""

    def __init__(self):
        super().__init__()
        self.query = nn.Linear(4, 8)
        self.key = nn.Linear(4, 8)
        self.value = nn.Linear(4, 6)
        self.out = nn.Linear(6, 3)

    def forward(self, x):
        query, key = self.query(x), self.key(x)
        weights = torch.softmax(query @ key.transpose(1, 2) / query.shape[-1] ** 0.5, -1)
        return self.out(weights @ self.value(x))


def stack(wired, middle, **layers):
    return wired(
        lambda net, x: net.c(middle(net, net.b(net.a(x).relu()))),
        a=nn.Linear(4, 6),
        b=nn.Linear(6, 8),
        c=nn.Linear(8, 3),
        **layers,
    )


@pytest.mark.parametrize(
    ('make', 'shape', 'beyond', 'expressible'),
    [
        (lambda wired: stack(wired, lambda net, x: net.norm(x), norm=nn.LayerNorm(8)), (2, 4), {'b'}, {'a'}),
        (lambda wired: stack(wired, lambda net, x: x.softmax(-1)), (2, 4), {'b'}, {'a'}),
        (lambda wired: stack(wired, lambda net, x: x.mean(-1, keepdim=True) + x), (2, 4), {'b'}, {'a'}),
        (lambda wired: stack(wired, lambda net, x: x.sum(-1, keepdim=True).sigmoid() * x), (2, 4), set(), {'a', 'b'}),
        (lambda wired: Heads(), (2, 5, 4), {'query'}, {'value'}),
    ],
)
def test_groups_that_masks_cannot_express(wired, make, shape, beyond, expressible):
    space = WidthSpace(make(wired), example_input=shape)
    assert set(space.labels) == beyond | expressible
    found = beyond_masks(space.full_model, space.graph, space.example_input)
    assert set(found) == beyond
    assert all('zeros in its weights do not do what its removal does' in reason for reason in found.values())
    for label in space.labels:
        sets = random_channel_sets(space.graph, [label], np.random.default_rng(0))
        assert (compare(space, sets, shape) <= 1e-9) == (label in expressible)


def test_weights_that_become_nothing_are_found(wired):
    """The norm of a filter of zeros is zero: weight normalization divides by it."""
    model = stack(wired, lambda net, x: x)
    nn.utils.parametrizations.weight_norm(model.a)
    space = WidthSpace(model, example_input=(2, 4))
    assert set(beyond_masks(space.full_model, space.graph, space.example_input)) == {'a'}


# --- NNI's ModelSpeedup ---------------------------------------------------------------------------


@pytest.mark.parametrize('as_released', [True, False], ids=['as released', 'with a graph of torch.fx'])
def test_modelspeedup_accepts_the_masks(as_released):
    """As released it does not run where functions of torch have no module (2.6 to 2.15); with a graph it does."""
    torch.manual_seed(0)
    space = WidthSpace(SmallResNet(width=8), example_input=(2, 1, 8, 8), verify=False).eval()
    sets = random_channel_sets(space.graph, space.labels, np.random.default_rng(0))
    slim = space.slim({label: len(each) for label, each in sets.items()}, sets)
    model, x = copy.deepcopy(space.full_model), torch.randn(2, 1, 8, 8)
    graph = None if as_released else torch.fx.symbolic_trace(model)
    logging.disable(logging.CRITICAL)
    try:
        fast = ModelSpeedup(model, x, masks_of(space, sets), graph_module=graph).speedup_model().eval()
    except AttributeError as error:
        if not as_released:
            raise
        pytest.skip(f'ModelSpeedup cannot trace a model under torch {torch.__version__}: {error}')
    finally:
        logging.disable(logging.NOTSET)
    assert {name: tuple(each.shape) for name, each in fast.state_dict().items()} == {
        name: tuple(each.shape) for name, each in slim.state_dict().items()
    }
    torch.testing.assert_close(fast(x), slim(x))
