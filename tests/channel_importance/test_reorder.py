"""Channels in another order: exactly the same function, and the most important channels on the left."""

from __future__ import annotations

import copy
import functools
import itertools
from unittest.mock import Mock, call

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import models
from torch import nn

from nni_cafenet import WidthSpace, importance, order_channels, permute_channels, register_rule
from nni_cafenet.analysis.rules import registry

Conv = nn.Conv2d
PICTURE = (2, 3, 4, 4)


def numbers(space, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random numbers for every channel."""
    generator = torch.Generator().manual_seed(seed)
    return {label: torch.rand(width, generator=generator) for label, width in space.full_widths.items()}


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all parameters and buffers, the buffers that are not persistent too."""
    both = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in both}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def outputs(model: nn.Module, *inputs) -> list[torch.Tensor]:
    with torch.no_grad():
        return torch.utils._pytree.tree_leaves(model(*copy.deepcopy(inputs)))


@pytest.fixture
def chain(wired):
    model = wired(
        lambda net, x: net.c(F.relu(net.b(F.relu(net.n(net.a(x)))))),
        a=Conv(3, 4, 3, padding=1),
        n=nn.BatchNorm2d(4),
        b=Conv(4, 5, 1),
        c=Conv(5, 2, 1),
    )
    return WidthSpace(model, example_input=PICTURE, min_ratio=0)


# --- by hand ------------------------------------------------------------------------------------------------


def test_a_chain_by_hand(chain):
    before = state(chain)
    tensors = dict(chain.named_parameters())
    order = order_channels(chain, {'a': [0.1, 3.0, 2.0, 3.0]})
    assert {label: moved.tolist() for label, moved in order.permutation.items()} == {
        'a': [1, 3, 2, 0],  # equals keep their order
        'b': [0, 1, 2, 3, 4],
    }
    assert order.permutation['a'].dtype == torch.int64
    expected = {name: before[name][order.permutation['a']] for name in ('a.weight', 'a.bias', 'n.weight', 'n.bias')}
    expected.update((name, before[name][[1, 3, 2, 0]]) for name in ('n.running_mean', 'n.running_var'))
    expected['b.weight'] = before['b.weight'][:, [1, 3, 2, 0]]
    assert same(state(chain), {**before, **expected})
    assert all(parameter is tensors[name] for name, parameter in chain.named_parameters())


def test_undone_it_is_as_it_was(chain):
    before = state(chain)
    order = order_channels(chain, importance(chain))
    assert not same(state(chain), before)
    undone = permute_channels(chain, order.inverse())
    assert same(state(chain), before)
    assert {label: moved.tolist() for label, moved in undone.permutation.items()} == {
        label: moved.tolist() for label, moved in order.inverse().items()
    }


@pytest.mark.parametrize('rule', ['l1', 'l2', 'bn'])
def test_the_most_important_channels_are_the_base(family, rule):
    space = family('mobilenet_v2').double()
    ranked = importance(space, rule)
    order = order_channels(space, ranked)
    found = importance(space, rule)
    for label, values in found.items():
        torch.testing.assert_close(values, ranked[label].sort(descending=True).values, rtol=1e-12, atol=1e-12)
    again = order_channels(space, found)
    assert all(torch.equal(moved, torch.arange(len(moved))) for moved in again.permutation.values())
    permute_channels(space, order.inverse())


def test_grouped_channels_stay_in_their_groups(wired):
    model = wired(lambda net, x: net.c(net.b(net.a(x))), a=Conv(3, 6, 1), b=Conv(6, 8, 1, groups=2), c=Conv(8, 2, 1))
    space = WidthSpace(model, example_input=PICTURE)
    before = state(space)
    order_channels(space, {'a': [0, 2, 1], 'b': [0, 1, 2, 3]})
    assert torch.equal(space.a.bias, before['a.bias'][[1, 2, 0, 4, 5, 3]])
    assert torch.equal(space.b.bias, before['b.bias'][[3, 2, 1, 0, 7, 6, 5, 4]])
    assert torch.equal(space.b.weight, before['b.weight'][[3, 2, 1, 0, 7, 6, 5, 4]][:, [1, 2, 0]])


def test_concatenated_and_flattened_channels_move_in_blocks(wired):
    model = wired(
        lambda net, x: net.c(torch.cat([net.a(x), net.b(x)], 1).flatten(1)),
        a=Conv(3, 2, 1),
        b=Conv(3, 2, 1),
        c=nn.Linear(16, 3),
    )
    space = WidthSpace(model, example_input=(1, 3, 2, 2))
    before = state(space)
    order_channels(space, {'a': [0, 1], 'b': [1, 0]})
    assert torch.equal(space.c.weight, before['c.weight'][:, [4, 5, 6, 7, 0, 1, 2, 3, *range(8, 16)]])


def test_heads_stay_heads(same_in_any_order):
    torch.manual_seed(0)
    space = WidthSpace(nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=True), example_input=(2, 5, 4))
    assert space.full_widths == {'linear1': 6}  # the stream is the output
    same_in_any_order(space.double(), torch.randn(2, 5, 4, dtype=torch.float64))


# --- the same function ----------------------------------------------------------------------------------


def test_rotary_positions_keep_their_pairs(wired, same_in_any_order):
    """The halves of a head are turned against each other, each pair by an angle of its own."""

    def turned(x, angles):
        left, right = x.chunk(2, -1)
        turn = torch.cat([-right, left], -1)
        return x * torch.cat([angles.cos()] * 2, -1) + turn * torch.cat([angles.sin()] * 2, -1)

    def attend(net, x):
        t = net.a(x)
        q, k, v = (layer(t).unflatten(-1, (2, -1)).transpose(1, 2) for layer in (net.q, net.k, net.v))
        angles = net.angles[: x.shape[1]]
        y = F.scaled_dot_product_attention(turned(q, angles), turned(k, angles), v)
        return net.c(t + net.out(y.transpose(1, 2).flatten(2)))

    angles = torch.arange(5)[:, None] * torch.tensor([1.0, 0.3, 0.1])
    layers = {name: nn.Linear(6, 12) for name in ('q', 'k', 'v')}
    model = wired(attend, a=nn.Linear(3, 6), out=nn.Linear(12, 6), c=nn.Linear(6, 2), angles=angles, **layers)
    space = WidthSpace(model, example_input=(2, 5, 3)).double()
    assert space.full_widths == {'a': 6, 'q': 3, 'v': 6}  # of queries and keys a pair is a channel, with its angles
    same_in_any_order(space, torch.randn(2, 5, 3, dtype=torch.float64))


SMALL = {
    'group norm of many groups': (
        lambda net, x: net.b(net.n(net.a(x))),
        {'a': Conv(3, 12, 1), 'n': nn.GroupNorm(6, 12), 'b': Conv(12, 2, 1)},
    ),
    'group norm of few groups': (
        lambda net, x: net.b(net.n(net.a(x))),
        {'a': Conv(3, 12, 1), 'n': nn.GroupNorm(2, 12), 'b': Conv(12, 2, 1)},
    ),
    'channel shuffle': (
        lambda net, x: net.c(net.b(F.channel_shuffle(net.a(x), 3))),
        {'a': Conv(3, 12, 1), 'b': Conv(12, 12, 1, groups=3), 'c': Conv(12, 2, 1)},
    ),
    'an attribute that follows': (
        lambda net, x: net.c(net.b(net.a(x))),
        {'a': Conv(3, 6, 1), 'b': Conv(6, 12, 3, padding=1, groups=6), 'c': Conv(12, 2, 1)},
    ),
    'softmax over channels': (lambda net, x: net.b(net.a(x).softmax(1)), {'a': Conv(3, 6, 1), 'b': Conv(6, 2, 1)}),
    'a mirrored sum': (
        lambda net, x: net.b((y := net.a(x)) + y.flip(1)),
        {'a': Conv(3, 6, 1), 'b': Conv(6, 2, 1)},
    ),
    'channels joined twice': (
        lambda net, x: net.b(torch.cat([net.a(x), net.a(x).flip(1)], 1)),
        {'a': Conv(3, 6, 1), 'b': Conv(12, 2, 1)},
    ),
    'a first layer of zeros': (
        lambda net, x: net.b(net.a(x)),
        {'a': nn.utils.skip_init(Conv, 3, 6, 1), 'b': Conv(6, 2, 1)},
    ),
}


@pytest.mark.parametrize('name', SMALL)
def test_small_networks(wired, same_in_any_order, name):
    wiring, layers = SMALL[name]
    space = WidthSpace(wired(wiring, **copy.deepcopy(layers)), example_input=PICTURE).double()
    same_in_any_order(space, torch.randn(PICTURE, dtype=torch.float64))


def test_tied_weights(same_in_any_order):
    model = models.tied()
    space = WidthSpace(model, example_input=(2, 3)).double()
    same_in_any_order(space, torch.randn(2, 3, dtype=torch.float64))
    assert model.c.weight is model.b.weight


@pytest.mark.parametrize('training', [False, True])
def test_a_detector(detector, training):
    space = WidthSpace(detector(), example_input=(1, 3, 64, 64)).double().train(training)
    pictures = [torch.rand(3, 64, 64, dtype=torch.float64)]
    boxes = torch.tensor([[4.0, 4.0, 40.0, 30.0], [10.0, 20.0, 60.0, 60.0]], dtype=torch.float64)
    targets = [{'boxes': boxes, 'labels': torch.tensor([1, 2])}] if training else None
    torch.manual_seed(0)  # the same regions
    before = outputs(space, pictures, targets)
    assert order_channels(space, importance(space)).kept == {}
    torch.manual_seed(0)
    torch.testing.assert_close(outputs(space, pictures, targets), before, rtol=1e-9, atol=1e-9)


# --- orders that matter -------------------------------------------------------------------------------


@pytest.fixture
def neighbors(monkeypatch, wired):
    """Two of four layers come before a sum of all channels so far, which runs at any width: zeros change nothing in it."""
    monkeypatch.setattr(registry, '_RULES', dict(registry._RULES))
    register_rule('aten.cumsum')(lambda call, x, axis: x.dims)
    model = wired(
        lambda net, x: net.e(net.d(net.c(net.b(net.a(x).cumsum(1))).cumsum(1))),
        **{'a': Conv(3, 4, 1), 'b': Conv(4, 5, 1), 'c': Conv(5, 6, 1), 'd': Conv(6, 7, 1), 'e': Conv(7, 2, 1)},
    )
    space = WidthSpace(model, example_input=PICTURE)
    assert space.labels == ('a', 'b', 'c', 'd')
    return space


def test_groups_whose_order_matters_keep_it(neighbors, caplog):
    space = neighbors.double()
    original, x = state(space), torch.randn(PICTURE, dtype=torch.float64)
    before = outputs(space, x)
    order = order_channels(space, numbers(space))
    reason = 'the permutation would change the outputs of the network'
    assert order.kept == {'a': reason, 'c': reason}
    assert f'The channels of a keep their order: {reason}.' in caplog.text
    assert order.permutation['a'].tolist() == [0, 1, 2, 3]
    assert order.permutation['b'].tolist() != [0, 1, 2, 3, 4]
    torch.testing.assert_close(outputs(space, x), before, rtol=1e-9, atol=1e-9)
    assert torch.equal(space.a.weight, original['a.weight'])
    permute_channels(space, order.inverse())
    assert same(state(space), original)


def test_tensors_that_share_memory_without_being_tied_keep_their_order(wired):
    model = wired(lambda net, x: net.c(net.a(x)) + net.d(net.b(x)), a=Conv(3, 4, 1), b=Conv(3, 4, 1), c=Conv(4, 2, 1))
    model.d = Conv(4, 2, 1)
    model.b.weight = nn.Parameter(model.a.weight.detach())  # moved twice, once a name
    space = WidthSpace(model, example_input=PICTURE).double()
    model.b.weight.data = model.a.weight.data
    original, ranks = state(space), {'a': [1, 2, 4, 3], 'b': [1, 2, 4, 3]}
    before = outputs(space, torch.ones(PICTURE, dtype=torch.float64))
    assert set(order_channels(space, ranks).kept) == {'a', 'b'}
    assert same(state(space), original)
    torch.testing.assert_close(outputs(space, torch.ones(PICTURE, dtype=torch.float64)), before, rtol=0, atol=0)


def test_an_interruption_leaves_everything_as_it_was(chain, monkeypatch):
    original = state(chain)

    def interrupted(*inputs):
        raise KeyboardInterrupt

    order_channels(chain, numbers(chain))  # it works
    permuted = state(chain)
    calls = itertools.count(1)  # a list that the model reaches would be brought back
    forward = chain.full_model.forward
    monkeypatch.setattr(chain.full_model, 'forward', lambda x: forward(x) if next(calls) < 2 else interrupted())
    with pytest.raises(KeyboardInterrupt):
        order_channels(chain, numbers(chain, seed=1))
    assert next(calls) == 3  # one before, one after
    assert same(state(chain), permuted)
    assert not same(permuted, original)


# --- models as people have them ---------------------------------------------------------------------


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    x = torch.randn(PICTURE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize(
    'make',
    [
        functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        functools.partial(torch.optim.AdamW, lr=0.01, amsgrad=True),
        functools.partial(torch.optim.Adafactor, lr=0.01),  # has numbers of rows and of columns only
    ],
    ids=['sgd', 'adamw', 'adafactor'],
)
def test_the_state_of_an_optimizer_and_gradients_move_along(chain, make):
    space = chain.double().eval()  # in training a bias before a batch normalization has noise for a gradient
    plain = copy.deepcopy(space.full_model)
    left, right = make(plain.parameters()), make(space.parameters())
    for model, optimizer in ((plain, left), (space, right)):
        step(model, optimizer)
    order = order_channels(space, numbers(space), optimizer=right)
    right.step()  # on the gradients of before
    left.step()
    for model, optimizer in ((plain, left), (space, right)):
        step(model, optimizer)
    permute_channels(space, order.inverse(), optimizer=right)
    for name, tensor in state(space).items():
        torch.testing.assert_close(tensor, state(plain)[name], rtol=1e-9, atol=1e-9)


def test_an_optimizer_whose_state_has_other_shapes(chain):
    optimizer = torch.optim.LBFGS(chain.full_model.parameters())
    chain(torch.randn(PICTURE)).square().mean().backward()
    for _ in range(2):
        optimizer.step(lambda: chain(torch.randn(PICTURE)).square().mean())
    before = state(chain)
    with pytest.raises(ValueError, match=r'optimizer=LBFGS keeps a tensor of shape .* for a\.weight, of shape \(4, 3,'):
        order_channels(chain, numbers(chain), optimizer=optimizer)
    assert same(state(chain), before)
    with pytest.raises(TypeError, match=r'optimizer=str must be a torch\.optim\.Optimizer'):
        order_channels(chain, numbers(chain), optimizer='sgd')


def test_hooks_modes_frozen_parameters_and_active_channels_stay(chain):
    chain.train()
    chain.n.eval()
    chain.a.requires_grad_(False)
    calls = Mock()  # a list that the model reaches would be brought back
    chain.a.register_forward_hook(lambda module, args, output: [calls(output.shape[1]), None][1])
    chain.activate({'a': 2, 'b': 3})
    order_channels(chain, numbers(chain))
    assert all(each == call(4) for each in calls.call_args_list)  # looked at whole
    assert (chain.training, chain.n.training, chain.n.num_features) == (True, False, 2)
    assert [parameter.requires_grad for parameter in chain.parameters()] == [False] * 2 + [True] * 6
    chain(torch.randn(PICTURE))
    assert calls.call_args == call(2)


def test_buffers_that_are_not_persistent_move(wired):
    model = wired(lambda net, x: net.b(net.a(x) * net.scale[:, None, None]), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    model.register_buffer('scale', torch.tensor([1.0, 2.0, 3.0, 4.0]), persistent=False)
    space = WidthSpace(model, example_input=PICTURE)
    order_channels(space, {'a': [1, 2, 4, 3]})
    assert model.scale.tolist() == [3, 4, 2, 1]


PARAMETRISED = {
    'weight norm': nn.utils.parametrizations.weight_norm,
    'spectral norm': nn.utils.parametrizations.spectral_norm,
    'old weight norm': nn.utils.weight_norm,
    'old spectral norm': nn.utils.spectral_norm,
    'pruned': lambda layer: nn.utils.prune.l1_unstructured(layer, 'weight', 0.3),
}


@pytest.mark.parametrize('name', PARAMETRISED)
@pytest.mark.filterwarnings('ignore::FutureWarning')
def test_parametrized_weights(chain, same_in_any_order, name):
    model = copy.deepcopy(chain.full_model)
    PARAMETRISED[name](model.b)
    space = WidthSpace(model.double(), example_input=PICTURE)
    assert space.full_widths == {'a': 4, 'b': 5}
    assert set(importance(space)) == {'a', 'b'}
    same_in_any_order(space, torch.randn(PICTURE, dtype=torch.float64))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float32])
def test_other_precisions_are_held_to_all_digits(neighbors, dtype):
    space = WidthSpace(neighbors.full_model.to(dtype), example_input=PICTURE)
    order = order_channels(space, importance(space))
    assert set(order.kept) <= {'a', 'c'}
    assert {parameter.dtype for parameter in space.parameters()} == {dtype}
    kept = order_channels(space, {'a': [1, 2, 3, 4], 'd': [1, 2, 3, 4, 5, 6, 7]}).kept
    assert set(kept) == {'a'}


@pytest.mark.parametrize(
    ('given', 'error', 'message'),
    [
        ({'z': [1]}, ValueError, "importance has the unknown label 'z'. Labels are in space.labels"),
        ({'a': [1, 2, 3]}, ValueError, r"importance\['a'\] has shape \(3,\); give 4 numbers, one a channel"),
        ({'a': [1, 2, 3, float('nan')]}, ValueError, r"importance\['a'\] has values that are not finite numbers"),
        ([1, 2], TypeError, 'importance is a list; give {label: one entry a channel}'),
    ],
)
def test_bad_importance(chain, given, error, message):
    before = state(chain)
    with pytest.raises(error, match=message):
        order_channels(chain, given)
    assert same(state(chain), before)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'z': [1]}, "permutation has the unknown label 'z'"),
        ({'a': [0, 1, 2, 2]}, r"permutation\['a'\] must have each channel from 0 to 3 once, got \[0, 1, 2, 2\]"),
        ({'a': [0, 1, 2]}, 'must have each channel from 0 to 3 once'),
        ({'a': [0.0, 1.0, 2.0, 3.0]}, 'must have each channel from 0 to 3 once'),
    ],
)
def test_bad_permutations(chain, given, message):
    with pytest.raises(ValueError, match=message):
        permute_channels(chain, given)


def test_a_model_without_values(chain):
    space = WidthSpace(copy.deepcopy(chain.full_model).to('meta'), example_input=PICTURE)
    with pytest.raises(ValueError, match=r'a\.weight is on the meta device, without values'):
        order_channels(space, {'a': np.arange(4)})


def test_nothing_to_do_runs_nothing(chain):
    calls = []
    chain.a.register_forward_hook(lambda *_: calls.append(1))
    assert order_channels(chain, {'a': [4, 3, 2, 1]}).permutation['a'].tolist() == [0, 1, 2, 3]
    assert permute_channels(chain, {}).kept == {}
    assert calls == []
