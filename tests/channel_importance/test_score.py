from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from helpers import models
from torch import nn

from nni_cafenet import WidthSpace, importance
from nni_cafenet.channel_importance.score_sum import structures

Conv = nn.Conv2d
PICTURE = (2, 3, 4, 4)


def share(*channels: torch.Tensor) -> torch.Tensor:
    """What a layer adds to a group: numbers of its channels, their mean made 1."""
    numbers = torch.stack([channel.double() for channel in channels])
    return numbers / numbers.mean()


def l1(weight: torch.Tensor) -> torch.Tensor:
    """The absolute sums of the filters along axis 0, their mean made 1."""
    return share(*[filters.detach().double().abs().sum() for filters in weight])


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=1e-12)


@pytest.fixture
def chain(wired):
    model = wired(
        lambda net, x: net.b(F.relu(net.n(net.a(x)))), a=Conv(3, 4, 3, padding=1), n=nn.BatchNorm2d(4), b=Conv(4, 2, 1)
    )
    return WidthSpace(model, example_input=PICTURE, min_ratio=0)


# --- which weights make a channel, by hand -----------------------------------------------------------


def test_a_chain(chain):
    weight = chain.a.weight.detach().double()
    assert_close(importance(chain)['a'], share(*weight.abs().sum((1, 2, 3))))
    assert_close(importance(chain, 'l1')['a'], importance(chain)['a'])
    assert_close(importance(chain, 'l2')['a'], share(*weight.square().sum((1, 2, 3)).sqrt()))
    assert_close(importance(chain, 'bn')['a'], share(*chain.n.weight.abs()))
    found = importance(chain)['a']
    assert (found.dtype, found.shape, found.device.type, found.requires_grad) == (torch.float64, (4,), 'cpu', False)


def test_a_group_is_all_that_goes_with_a_channel(chain):
    made, read = chain.a.weight.double().square(), chain.b.weight.double().square()
    expected = share(*made.sum((1, 2, 3))) + share(*chain.n.weight.double().square()) + share(*read.sum((0, 2, 3)))
    assert_close(importance(chain, 'group')['a'], expected)


def test_numbers_small_enough_for_the_head(wired):
    model = wired(lambda net, x: net.b(net.a(x)), a=nn.Linear(2, 3, bias=False), b=nn.Linear(3, 2))
    with torch.no_grad():
        model.a.weight.copy_(torch.tensor([[3.0, -4.0], [0.0, 1.0], [0.0, 0.0]]))
    space = WidthSpace(model, example_input=(1, 2))
    assert_close(importance(space)['a'], torch.tensor([7.0, 1.0, 0.0]).double() * 3 / 8)
    assert_close(importance(space, 'l2')['a'], torch.tensor([5.0, 1.0, 0.0]).double() / 2)


def test_a_residual_sum_counts_both_layers_alike(wired):
    model = wired(
        lambda net, x: net.c(net.a(x) + net.b(F.relu(net.a(x)))), a=Conv(3, 4, 1), b=Conv(4, 4, 1), c=Conv(4, 2, 1)
    )
    space = WidthSpace(model, example_input=PICTURE)
    expected = l1(model.a.weight) + l1(model.b.weight)
    assert_close(importance(space)['a'], expected)
    with torch.no_grad():
        model.b.weight.mul_(1024)
    assert_close(importance(space)['a'], expected)


def test_depthwise_and_transposed_convolutions(wired):
    model = wired(
        lambda net, x: net.d(net.t(net.w(net.a(x)))),
        a=Conv(3, 4, 1),
        w=Conv(4, 4, 3, padding=1, groups=4),
        t=nn.ConvTranspose2d(4, 5, 2),
        d=Conv(5, 2, 1),
    )
    found = importance(WidthSpace(model, example_input=PICTURE))
    assert_close(found['a'], l1(model.a.weight) + l1(model.w.weight))
    assert_close(found['t'], l1(model.t.weight.transpose(0, 1)))


def test_a_grouped_convolution_has_a_filter_of_the_channel_in_every_group(wired):
    model = wired(lambda net, x: net.c(net.b(net.a(x))), a=Conv(3, 6, 1), b=Conv(6, 8, 1, groups=2), c=Conv(8, 2, 1))
    space = WidthSpace(model, example_input=PICTURE)
    assert space.full_widths == {'a': 3, 'b': 4}
    a, b = (weight.detach().double().abs().flatten(1).sum(1) for weight in (model.a.weight, model.b.weight))
    assert_close(importance(space)['a'], share(*(a[:3] + a[3:])))
    assert_close(importance(space)['b'], share(*(b[:4] + b[4:])))
    squares = model.a.weight.detach().double().square().flatten(1).sum(1)
    assert_close(importance(space, 'l2')['a'], share(*(squares[:3] + squares[3:]).sqrt()))


def test_concatenated_and_flattened_channels_count_where_they_are_made(wired):
    model = wired(
        lambda net, x: net.c(net.n(torch.cat([net.a(x), net.b(x)], 1)).flatten(1)),
        a=Conv(3, 4, 1),
        b=Conv(3, 2, 1),
        n=nn.BatchNorm2d(6),
        c=nn.Linear(6 * 16, 2),
    )
    space = WidthSpace(model, example_input=PICTURE)
    found = importance(space)
    assert_close(found['a'], l1(model.a.weight))
    assert_close(found['b'], l1(model.b.weight))
    scales = model.n.weight.abs()
    assert_close(importance(space, 'bn')['a'], share(*scales[:4]))
    assert_close(importance(space, 'bn')['b'], share(*scales[4:]))


def test_attention_counts_every_head_of_queries_with_keys(wired):
    def self_attention(net, x):
        t = net.a(x)
        return net.out(t + net.attend(t, t, t, need_weights=False)[0])

    attend = nn.MultiheadAttention(4, 2, batch_first=True)
    model = wired(self_attention, a=nn.Linear(3, 4), attend=attend, out=nn.Linear(4, 2))
    space = WidthSpace(model, example_input=(2, 5, 3))
    assert space.full_widths['a'] == 2  # one channel of each of two heads
    layers = (model.a.weight, model.attend.in_proj_weight, model.attend.out_proj.weight)
    a, qkv, out = (weight.detach().double().abs().sum(1).reshape(-1, 2).sum(0) for weight in layers)
    assert_close(importance(space)['a'], share(*a) + share(*qkv) + share(*out))


def test_normalizations_and_groups_without_one(wired):
    model = wired(
        lambda net, x: net.c(net.b(net.second(F.relu(net.first(net.a(x)))))),
        a=nn.Linear(3, 4),
        first=nn.LayerNorm(4),
        second=nn.RMSNorm(4),
        b=nn.Linear(4, 5),
        c=nn.Linear(5, 2),
    )
    found = importance(WidthSpace(model, example_input=(2, 3)), 'bn')
    assert_close(found['a'], share(*model.first.weight.abs()) + share(*model.second.weight.abs()))
    assert_close(found['b'], l1(model.b.weight))


def test_frozen_normalization_keeps_its_scale_in_a_buffer(wired):
    from torchvision.ops import FrozenBatchNorm2d

    model = wired(lambda net, x: net.b(net.n(net.a(x))), a=Conv(3, 4, 1), n=FrozenBatchNorm2d(4), b=Conv(4, 2, 1))
    assert_close(importance(WidthSpace(model, example_input=PICTURE), 'bn')['a'], share(*model.n.weight.abs()))


def test_tied_weights_count_once():
    model = models.tied()
    space = WidthSpace(model, example_input=(1, 3))
    assert_close(importance(space)['a'], l1(model.a.weight) + l1(model.b.weight))


def test_the_computed_weight_of_a_parametrized_layer_counts(chain, wired):
    model = copy.deepcopy(chain.full_model)
    nn.utils.parametrizations.weight_norm(model.a, dim=1)  # by inputs, so that the scale is of no channel
    with torch.no_grad():
        model.a.parametrizations.weight.original1.mul_(7)
        model.a.parametrizations.weight.original0.copy_(torch.tensor([1.0, 20.0, 0.5]).reshape(1, 3, 1, 1))
    assert_close(importance(WidthSpace(model, example_input=PICTURE))['a'], l1(model.a.weight))


def test_a_layer_of_zeros_says_nothing(chain):
    with torch.no_grad():
        chain.a.weight.zero_()
        chain.n.weight.copy_(torch.tensor([0.0, 2.0, 0.0, 0.0]))
    assert importance(chain)['a'].tolist() == [0, 0, 0, 0]
    assert importance(chain, 'bn')['a'].tolist() == [0, 4, 0, 0]


def test_half_precision_is_summed_in_double(chain):
    model = copy.deepcopy(chain.full_model).to(torch.bfloat16)
    expected = l1(model.a.weight.detach().double())
    assert_close(importance(WidthSpace(model, example_input=PICTURE))['a'], expected)


# --- Taylor ------------------------------------------------------------------------------------------------


def squares(model, batch):
    return model(batch).square().sum()


def test_taylor_by_hand(wired):
    # y = b a x with one input, so that weight * gradient of channel i is 2 y b_i a_i x.
    model = wired(lambda net, x: net.b(net.a(x)), a=nn.Linear(2, 3, bias=False), b=nn.Linear(3, 1, bias=False))
    space = WidthSpace(model, example_input=(1, 2))
    batches = [torch.tensor([[1.0, 2.0]]), torch.tensor([[-1.0, 0.5]])]
    a, b = model.a.weight.detach().double(), model.b.weight.detach().double()[0]
    expected = torch.zeros(3, dtype=torch.float64)
    for x in batches:
        y = float(b @ a @ x[0].double())
        expected += (2 * y * b[:, None] * a * x.double()).abs().sum(1) / 2
    found = importance(space, 'taylor', batches=iter(batches), loss=squares)
    torch.testing.assert_close(found['a'], expected, rtol=1e-5, atol=1e-7)


def test_taylor_adds_losses_so_that_a_layer_of_no_effect_counts_nothing(wired):
    model = wired(
        lambda net, x: net.c(net.a(x) + 0 * net.b(x)), a=nn.Linear(2, 3), b=nn.Linear(2, 3), c=nn.Linear(3, 1)
    )
    space = WidthSpace(model, example_input=(1, 2))
    x = torch.randn(4, 2)
    model.zero_grad()
    squares(model, x).backward()
    expected = (model.a.weight * model.a.weight.grad).abs().sum(1).double()
    model.zero_grad()
    torch.testing.assert_close(importance(space, 'taylor', batches=[x], loss=squares)['a'], expected)


def test_taylor_leaves_the_model_as_it_was(chain):
    chain.train()
    chain.a.requires_grad_(False)
    before = copy.deepcopy(chain.state_dict())
    chain.activate({'a': 2})
    with torch.no_grad():
        found = importance(chain, 'taylor', batches=[torch.randn(PICTURE)], loss=squares)
    assert bool(found['a'].all())  # though it is frozen
    assert (chain.n.num_features, chain.training) == (2, True)
    assert [p.requires_grad for p in chain.parameters()] == [False] * 2 + [True] * 4
    assert all(parameter.grad is None for parameter in chain.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in chain.state_dict().items())


# --- rules of a user's own -----------------------------------------------------------------------------


def test_a_callable_gives_numbers_of_elements(chain):
    seen = []

    def largest(name, weight):
        seen.append(name)
        return weight.clamp(min=0)

    assert_close(importance(chain, largest)['a'], share(*chain.a.weight.detach().double().clamp(min=0).sum((1, 2, 3))))
    assert seen == ['a.weight']


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (
            {'rule': 'L1'},
            ValueError,
            r"rule='L1' must be one of l1, .*, taylor, activation, wanda, or a callable",
        ),
        ({'rule': 2}, TypeError, r'rule=2 must be one of l1'),
        ({'rule': 'taylor'}, ValueError, r"rule='taylor' needs batches: importance\(space, 'taylor', batches="),
        ({'rule': 'taylor', 'batches': []}, ValueError, "rule='taylor' needs loss"),
        (
            {'rule': 'l2', 'loss': squares},
            ValueError,
            "loss is for rules that need data .*; rule='l2'",
        ),
        ({'rule': 'taylor', 'batches': [], 'loss': squares}, ValueError, 'batches is empty'),
        ({'rule': lambda name, w: w.sum()}, TypeError, r'rule gave shape \(\) for a.weight; it must .* \(4, 3, 3, 3\)'),
        ({'rule': lambda name, w: 1}, TypeError, 'rule gave int for a.weight'),
        ({'rule': lambda name, w: w / 0}, ValueError, 'rule gave values for a.weight that are not finite'),
    ],
)
def test_bad_arguments(chain, options, error, message):
    with pytest.raises(error, match=message):
        importance(chain, **options)


@pytest.mark.parametrize(
    ('loss', 'message'),
    [
        (
            lambda m, x: m(x),
            r'loss returned a tensor of shape \(2, 2, 4, 4\): it must return a tensor with one element',
        ),
        (lambda m, x: 1.0, 'loss returned float'),
        (lambda m, x: m(x).sum().detach(), 'does not depend on the weights'),
        (lambda m, x: m.n.bias.sum(), 'loss does not depend on any weight'),
        (lambda m, x: m(x).sum() * float('inf'), 'gradients that are not finite'),
        (lambda m, x: m(x).sum() * 0, 'the gradient of loss is zero'),
    ],
)
def test_losses_that_say_nothing(chain, loss, message):
    with pytest.raises(ValueError, match=message):
        importance(chain, 'taylor', batches=[torch.randn(PICTURE)], loss=loss)


def test_weights_without_values(chain):
    model = copy.deepcopy(chain.full_model)
    space = WidthSpace(model.to('meta'), example_input=PICTURE)
    with pytest.raises(ValueError, match='a.weight is on the meta device, without values. Load the trained weights'):
        importance(space)
    with torch.no_grad():
        chain.b.bias[0] = float('nan')
    with pytest.raises(ValueError, match='b.bias has values that are not finite'):
        importance(chain)


# --- activations --------------------------------------------------------------------------------------


def test_mean_absolute_activations_at_the_layers_that_read_a_channel(chain):
    chain.eval()
    batches = [torch.randn(PICTURE), torch.randn(PICTURE)]
    read = [F.relu(chain.n(chain.a(x))).detach().double() for x in batches]
    assert_close(importance(chain, 'activation', batches=batches, loss=squares)['a'], share(*sum_of(read, mean)))
    weight = chain.b.weight.detach().double().abs().sum((0, 2, 3))
    expected = share(*(weight * sum_of(read, root_mean_square)))
    assert_close(importance(chain, 'wanda', batches=batches, loss=squares)['a'], expected)


def mean(x):
    return x.abs().mean((0, 2, 3))


def root_mean_square(x):
    return x.square().mean((0, 2, 3)).sqrt()


def sum_of(activations, reduced):
    return torch.stack([reduced(x) for x in activations]).sum(0)


def test_activations_of_a_head_and_of_positions_that_are_flattened(wired):
    model = wired(
        lambda net, x: net.c(net.b(F.relu(net.a(x)).flatten(1))),
        a=Conv(1, 3, 1),
        b=nn.Linear(12, 5),
        c=nn.Linear(5, 2),
    )
    space = WidthSpace(model, example_input=(2, 1, 2, 2))
    x = torch.randn(4, 1, 2, 2)
    with torch.no_grad():
        read, after = F.relu(model.a(x)).double(), model.b(F.relu(model.a(x)).flatten(1)).double()
    found = importance(space, 'activation', batches=[x], loss=squares)
    assert_close(found['a'], share(*read.mean((0, 2, 3))))
    assert_close(found['b'], share(*after.abs().mean(0)))


def test_groups_that_no_layer_reads_are_ranked_by_their_filters(wired):
    model = wired(
        lambda net, x: net.c(net.b(x)).sum(1) + (net.a(x) * net.scale).sum(1),
        a=Conv(3, 4, 1),
        b=Conv(3, 4, 1),
        c=Conv(4, 2, 1),
    )
    model.scale = nn.Parameter(torch.randn(4, 1, 1))
    space = WidthSpace(model, example_input=PICTURE)
    found = importance(space, 'activation', batches=[torch.randn(PICTURE)], loss=squares)
    assert_close(found['a'], importance(space)['a'])
    assert not torch.equal(found['b'], importance(space)['b'])


@pytest.mark.parametrize('rule', ['activation', 'wanda'])
def test_activations_leave_the_model_as_it_was(chain, rule):
    chain.train()
    before = copy.deepcopy(chain.state_dict())
    chain.activate({'a': 2})
    importance(chain, rule, batches=[torch.randn(PICTURE)], loss=squares)
    assert (chain.n.num_features, chain.training) == (2, True)
    assert not any(module._forward_pre_hooks for module in chain.full_model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in chain.state_dict().items())

    def failing(model, batch):
        raise OSError('none')

    with pytest.raises(OSError, match='none'):
        importance(chain, rule, batches=[torch.randn(PICTURE)], loss=failing)
    assert not any(module._forward_pre_hooks for module in chain.full_model.modules())


@pytest.mark.parametrize('rule', ['activation', 'wanda'])
@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'batches': []}, 'needs loss'),
        ({'loss': squares}, 'needs batches'),
        ({'batches': [], 'loss': squares}, 'batches is empty'),
        ({'batches': [torch.full(PICTURE, float('inf'))], 'loss': squares}, 'activations that are not finite'),
    ],
)
def test_activations_need_data(chain, rule, options, said):
    with pytest.raises(ValueError, match=said):
        importance(chain, rule, **options)


# --- normalization ------------------------------------------------------------------------------------


@pytest.fixture
def three(wired):
    """Two blocks of equal structure and another one."""
    model = wired(
        lambda net, x: net.d(net.n3(net.c(net.n2(net.b(net.n1(net.a(x))))))),
        a=Conv(3, 4, 3, padding=1),
        n1=nn.BatchNorm2d(4),
        b=Conv(4, 6, 3, padding=1),
        n2=nn.BatchNorm2d(6),
        c=Conv(6, 5, 3, padding=1),
        n3=nn.BatchNorm2d(5),
        d=Conv(5, 2, 1),
    )
    return WidthSpace(model, example_input=PICTURE, min_ratio=0)


def test_groups_of_equal_structure_share_their_mean(three):
    a, b, c = (layer.weight.detach().double().abs().sum((1, 2, 3)) for layer in (three.a, three.b, three.c))
    found = importance(three, 'l1', normalize='isomorphic')
    both = torch.cat([a, b]).mean()
    assert_close(found['a'], a / both)
    assert_close(found['b'], b / both)
    assert_close(found['c'], c / c.mean())  # read by another kernel


def test_layers_of_equal_structure_are_normalized_one_by_one(three):
    found = importance(three, 'group', normalize='isomorphic')
    pairs = [(three.a, three.n1, three.b), (three.b, three.n2, three.c)]
    parts = [
        [
            made.weight.double().square().sum((1, 2, 3)),
            norm.weight.double().square(),
            read.weight.double().square().sum((0, 2, 3)),
        ]
        for made, norm, read in pairs
    ]
    for label, own in zip('ab', parts):
        assert_close(found[label], sum(part / torch.cat(alike).mean() for part, *alike in zip(own, *parts)))
    assert_close(found['c'], importance(three, 'group')['c'])


def test_none_and_the_default_of_rules(three):
    a = three.a.weight.detach().double().abs().sum((1, 2, 3))
    assert_close(importance(three, 'l1', normalize='none')['a'], a)
    assert_close(importance(three, 'l1', normalize='layer')['a'], importance(three, 'l1')['a'])
    data = {'batches': [torch.randn(PICTURE)], 'loss': squares}
    plain = importance(three.eval(), 'taylor', **data)
    assert_close(importance(three, 'taylor', normalize='none', **data)['a'], plain['a'])
    assert_close(importance(three, 'taylor', normalize='layer', **data)['a'], plain['a'] / plain['a'].mean())
    with pytest.raises(ValueError, match="normalize='iso' must be one of layer, isomorphic, none"):
        importance(three, normalize='iso')


def test_depth_and_grouping_tell_structures_apart(wired):
    model = wired(
        lambda net, x: net.e(net.d(net.c(net.b(net.a(x))))),
        a=Conv(3, 4, 1),
        b=Conv(4, 4, 3, padding=1, groups=4),
        c=Conv(4, 4, 1),
        d=Conv(4, 4, 3, padding=1),
        e=Conv(4, 2, 1),
    )
    space = WidthSpace(model, example_input=PICTURE)
    assert len(set(structures(model, space.graph).values())) == len(space.labels) == 3
