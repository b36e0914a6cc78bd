"""Every family of operators in a tiny network, with the groups that it must give worked out by hand."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from helpers.graphs import fixed, layout, widths
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import register_rule
from nni_cafenet.analysis.rules import find_rule, registry as rules
from nni_cafenet.graph.attributes import Attribute
from nni_cafenet.graph.channel_graph import Segment

Conv = nn.Conv2d
Linear = nn.Linear
PICTURE = (1, 3, 6, 6)


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Every test has a registry of its own."""
    monkeypatch.setattr(rules, '_RULES', dict(rules._RULES))


OUTPUT = 'is an output of the model'


# --- layers with weights --------------------------------------------------------------------------


def test_convolutions_share_the_channels_between_them(groups):
    graph = groups(PICTURE, lambda net, x: net.b(net.a(x)), a=Conv(3, 4, 3), b=Conv(4, 5, 1))
    assert widths(graph) == {'a': 4}
    assert fixed(graph) == {'b': OUTPUT}
    assert graph.groups[0].producers == ('a',)
    assert graph.groups[0].consumers == ('b',)
    # a: 4x4 positions of 3*3*3 products, b: 4x4 positions of 5 products.
    assert graph.groups[0].macs_per_channel == 16 * 27 + 16 * 5
    one = [('a', 4, 1, 1)]
    assert layout(graph, 'a.weight') == [one, [], [], []]
    assert layout(graph, 'a.bias') == [one]
    assert layout(graph, 'b.weight') == [[], one, [], []]
    assert 'b.bias' not in graph.dims


@pytest.mark.parametrize(('convolution', 'shape'), [(nn.Conv1d, (1, 3, 6)), (nn.Conv3d, (1, 3, 4, 4, 4))])
def test_convolutions_of_other_ranks(groups, convolution, shape):
    graph = groups(
        shape, lambda net, x: net.b(net.a(x)), a=convolution(3, 4, 1, bias=False), b=convolution(4, 2, 1, bias=False)
    )
    positions = 6 if convolution is nn.Conv1d else 64
    assert widths(graph) == {'a': 4}
    assert graph.groups[0].macs_per_channel == positions * (3 + 2)


def test_a_depthwise_convolution_follows_its_input(groups):
    graph = groups(
        PICTURE, lambda net, x: net.b(net.d(net.a(x))), a=Conv(3, 4, 1), d=Conv(4, 4, 3, groups=4), b=Conv(4, 2, 1)
    )
    assert widths(graph) == {'a': 4}
    assert graph.groups[0].producers == ('a', 'd')
    # 36 positions * 3 inputs, then 16 positions * 9 of the depthwise one, then 16 positions * 2 outputs.
    assert graph.groups[0].macs_per_channel == 36 * 3 + 16 * 9 + 16 * 2
    assert layout(graph, 'd.weight') == [[('a', 4, 1, 1)], [], [], []]
    assert graph.attributes == (Attribute('d', 'groups', 'd.weight', 0, 1),)


def test_a_channel_multiplier_repeats_every_channel(groups):
    graph = groups(
        PICTURE, lambda net, x: net.b(net.d(net.a(x))), a=Conv(3, 4, 1), d=Conv(4, 8, 3, groups=4), b=Conv(8, 2, 1)
    )
    assert widths(graph) == {'a': 4}
    # Outputs 2c and 2c + 1 of the depthwise convolution are of input c.
    assert layout(graph, 'd.weight') == [[('a', 8, 1, 2)], [], [], []]
    assert layout(graph, 'b.weight') == [[], [('a', 8, 1, 2)], [], []]
    assert graph.attributes == (Attribute('d', 'groups', 'd.weight', 0, 2),)


def test_few_wide_groups_shrink_inside(groups):
    # 2 groups of 4 inputs: both keep the same of their 4 inputs and the same of their 6 outputs.
    graph = groups(
        PICTURE, lambda net, x: net.b(net.g(net.a(x))), a=Conv(3, 8, 1), g=Conv(8, 12, 1, groups=2), b=Conv(12, 2, 1)
    )
    assert widths(graph) == {'a': 4, 'g': 6}
    assert layout(graph, 'a.weight') == [[('a', 8, 2, 1)], [], [], []]
    assert layout(graph, 'g.weight') == [[('g', 12, 2, 1)], [('a', 4, 1, 1)], [], []]
    assert layout(graph, 'b.weight') == [[], [('g', 12, 2, 1)], [], []]
    assert graph.attributes == ()
    # A channel of a: 2 of the 8 outputs of a (3 inputs each), and 1 of the 4 inputs of each of the 12 outputs of g.
    assert graph.groups[0].macs_per_channel == 36 * (2 * 3 + 12)


def test_many_narrow_groups_go_as_wholes(groups):
    # 4 groups of 2 inputs and 3 outputs: a group goes with its 2 inputs and its 3 outputs.
    graph = groups(
        PICTURE, lambda net, x: net.b(net.g(net.a(x))), a=Conv(3, 8, 1), g=Conv(8, 12, 1, groups=4), b=Conv(12, 2, 1)
    )
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'a.weight') == [[('a', 8, 1, 2)], [], [], []]
    assert layout(graph, 'g.weight') == [[('a', 12, 1, 3)], [], [], []]
    assert layout(graph, 'b.weight') == [[], [('a', 12, 1, 3)], [], []]
    assert graph.attributes == (Attribute('g', 'groups', 'g.weight', 0, 3),)
    # A channel of a: 2 outputs of a (3 inputs each), 3 outputs of g (2 inputs each), 3 inputs of b (2 outputs each).
    assert graph.groups[0].macs_per_channel == 36 * (2 * 3 + 3 * 2 + 3 * 2)


def test_groups_over_the_models_input(groups):
    depthwise = groups(
        PICTURE, lambda net, x: net.b(net.d(x)), d=Conv(3, 6, 1, groups=3), b=Conv(6, 5, 1)
    )  # 6 outputs of 3 fixed inputs
    assert widths(depthwise) == {}
    assert 'from channels that are fixed' in fixed(depthwise)['d']
    wide = groups((1, 8, 6, 6), lambda net, x: net.b(net.g(x)), g=Conv(8, 12, 1, groups=2), b=Conv(12, 5, 1))
    assert widths(wide) == {'g': 6}  # the outputs of both groups still shrink together
    assert layout(wide, 'g.weight') == [[('g', 12, 2, 1)], [], [], []]


def test_linear_layers_work_on_the_last_dimension(groups):
    graph = groups((2, 5, 3), lambda net, x: net.b(net.a(x)), a=Linear(3, 4), b=Linear(4, 2))
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'b.weight') == [[], [('a', 4, 1, 1)]]
    assert graph.groups[0].macs_per_channel == 5 * 3 + 5 * 2  # one sample: 5 rows
    assert graph.groups[0].consumers == ('b',)


def test_batch_normalization_follows_its_input(groups):
    graph = groups(
        PICTURE, lambda net, x: net.b(net.n(net.a(x))), a=Conv(3, 4, 1), n=nn.BatchNorm2d(4), b=Conv(4, 2, 1)
    )
    assert widths(graph) == {'a': 4}
    assert graph.groups[0].others == ('n',)
    for vector in ('weight', 'bias', 'running_mean', 'running_var'):
        assert layout(graph, f'n.{vector}') == [[('a', 4, 1, 1)]]


def test_one_layer_called_twice(groups):
    graph = groups(
        PICTURE, lambda net, x: net.b(net.m(net.m(net.a(x)))), a=Conv(3, 4, 1), m=Conv(4, 4, 1), b=Conv(4, 2, 1)
    )
    assert widths(graph) == {'a': 4}  # what m makes it also reads
    assert layout(graph, 'm.weight') == [[('a', 4, 1, 1)], [('a', 4, 1, 1)], [], []]
    assert int(graph.cost.macs_of(graph.full_widths[None])[0]) == 36 * (12 + 2 * 16 + 8)


# --- element by element ---------------------------------------------------------------------------


def test_a_residual_sum_ties_what_it_joins(groups):
    def residual(net, x):
        y = net.a(x)
        return net.c(F.relu(y + net.b(y)))

    graph = groups(PICTURE, residual, a=Conv(3, 4, 1), b=Conv(4, 4, 1), c=Conv(4, 2, 1))
    assert widths(graph) == {'a': 4}
    assert graph.groups[0].producers == ('a', 'b')
    assert layout(graph, 'b.weight') == [[('a', 4, 1, 1)], [('a', 4, 1, 1)], [], []]


def test_a_sum_with_the_input_fixes(groups):
    graph = groups(PICTURE, lambda net, x: net.b(net.a(x) + x), a=Conv(3, 3, 1), b=Conv(3, 2, 1))
    assert fixed(graph)['a'] == 'meets a dimension of fixed size in aten.add'


def test_squeeze_and_excite_multiplies_by_a_broadcast_gate(groups):
    def gated(net, x):
        y = net.a(x)
        gate = torch.sigmoid(net.up(F.relu(net.down(y.mean((2, 3))))))
        return net.b(y * gate[:, :, None, None])

    graph = groups(PICTURE, gated, a=Conv(3, 4, 1), down=Linear(4, 2), up=Linear(2, 4), b=Conv(4, 2, 1))
    assert widths(graph) == {'a': 4, 'down': 2}
    assert graph.groups[0].producers == ('a', 'up')
    assert graph.groups[0].consumers == ('down', 'b')
    assert layout(graph, 'up.weight') == [[('a', 4, 1, 1)], [('down', 2, 1, 1)]]


def test_bare_parameters_and_buffers_line_up_from_the_right(groups):
    def scaled(net, x):
        return net.b((net.a(x) * net.gamma + net.shift).clamp_min(net.floor) * net.one)

    graph = groups(
        PICTURE,
        scaled,
        a=Conv(3, 4, 1),
        gamma=nn.Parameter(torch.rand(1, 4, 1, 1)),
        shift=torch.rand(4, 1, 1),
        floor=nn.Parameter(torch.rand(4, 1, 1) - 1),
        one=nn.Parameter(torch.rand(1)),
        b=Conv(4, 2, 1),
    )
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'gamma') == [[], [('a', 4, 1, 1)], [], []]
    assert layout(graph, 'shift') == layout(graph, 'floor') == [[('a', 4, 1, 1)], [], []]
    assert 'one' not in graph.dims


@pytest.mark.parametrize('slopes', [1, 4])
def test_prelu_has_one_slope_or_one_a_channel(groups, slopes):
    graph = groups(PICTURE, lambda net, x: net.b(net.p(net.a(x))), a=Conv(3, 4, 1), p=nn.PReLU(slopes), b=Conv(4, 2, 1))
    assert widths(graph) == {'a': 4}
    assert ('p.weight' in graph.dims) == (slopes == 4)


def test_pooling_and_resizing_keep_channels(groups):
    def resized(net, x):
        y = F.interpolate(F.avg_pool2d(F.max_pool2d(net.a(x), 2), 1), scale_factor=2)
        values, _ = F.adaptive_max_pool2d(y, 2, return_indices=True)
        return net.b(F.pad(values, (1, 1, 1, 1), mode='reflect'))

    assert widths(groups(PICTURE, resized, a=Conv(3, 4, 1), b=Conv(4, 2, 1))) == {'a': 4}


def test_padding_adds_fixed_positions(groups):
    graph = groups(PICTURE, lambda net, x: net.b(F.pad(net.a(x), (1, 0, 0, 2))), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    assert widths(graph) == {'a': 4}
    graph = groups(PICTURE, lambda net, x: net.b(F.pad(net.a(x), (0, 0, 0, 0, 1, 1))), a=Conv(3, 4, 1), b=Conv(6, 2, 1))
    assert widths(graph) == {'a': 4}


# --- reductions -----------------------------------------------------------------------------------


def test_reductions_over_pictures_keep_channels(groups):
    def reduced(net, x):
        y = net.a(x)
        return net.b(y.mean((2, 3)) + y.amax((-1, -2)) + y.sum(3).max(2).values)

    graph = groups(PICTURE, reduced, a=Conv(3, 4, 1), b=Linear(4, 2))
    assert widths(graph) == {'a': 4}
    assert not graph.groups[0].channel_mixing


@pytest.mark.parametrize(
    'wiring',
    [
        lambda net, x: net.b(net.a(x).softmax(1)),
        lambda net, x: net.b((lambda y: y - y.mean(1, keepdim=True))(net.a(x))),
        lambda net, x: net.b((lambda y: y - y.max(1, keepdim=True).values)(net.a(x))),
        lambda net, x: net.b((lambda y: y - y.mean(1)[:, None])(net.a(x))),
    ],
    ids=['softmax', 'mean', 'max', 'mean without its dimension'],
)
def test_reductions_over_channels_mix_them(groups, wiring):
    graph = groups(PICTURE, wiring, a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    assert widths(graph) == {'a': 4}
    assert graph.groups[0].channel_mixing


def test_reductions_over_everything_fix(groups):
    graph = groups(PICTURE, lambda net, x: net.b(net.a(x) * net.a(x).sum()), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    assert fixed(graph)['a'] == 'cannot change in aten.sum'


# --- moving channels ------------------------------------------------------------------------------


def test_concatenation_keeps_the_parts_apart(groups):
    graph = groups(
        PICTURE,
        lambda net, x: net.c(torch.cat([net.a(x), x, net.b(x)], 1)),
        a=Conv(3, 4, 1),
        b=Conv(3, 2, 1),
        c=Conv(9, 5, 1),
    )
    assert widths(graph) == {'a': 4, 'b': 2}
    assert graph.layout_of('c.weight', 1) == [Segment('a', 4), Segment(None, 3), Segment('b', 2)]


def test_a_sum_with_a_concatenation_splits_the_layer(groups):
    graph = groups(
        PICTURE,
        lambda net, x: net.d(torch.cat([net.a(x), net.b(x)], 1) + net.c(x)),
        a=Conv(3, 4, 1),
        b=Conv(3, 2, 1),
        c=Conv(3, 6, 1),
        d=Conv(6, 5, 1),
    )
    assert widths(graph) == {'a': 4, 'b': 2}
    assert layout(graph, 'c.weight')[0] == layout(graph, 'd.weight')[1] == [('a', 4, 1, 1), ('b', 2, 1, 1)]
    assert [group.producers for group in graph.groups] == [('a', 'c'), ('b', 'c')]


def test_flatten_gives_a_linear_layer_every_position_of_a_channel(groups):
    graph = groups((1, 3, 7, 7), lambda net, x: net.b(torch.flatten(net.a(x), 1)), a=Conv(3, 4, 1), b=Linear(4 * 49, 2))
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'b.weight') == [[], [('a', 196, 1, 49)]]
    assert graph.groups[0].macs_per_channel == 49 * 3 + 49 * 2
    # Channel 2 of a stands at 98 .. 146.
    positions = graph.positions({'a': [2]})[graph.dims['b.weight'][1]]
    assert positions.tolist() == list(range(98, 147))


def shuffle(x, groups=2):
    batch, channels, height, width = x.shape
    return x.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(batch, -1, height, width)


def test_channel_shuffle_ties_the_parts_that_it_interleaves(groups):
    graph = groups(PICTURE, lambda net, x: net.b(shuffle(net.a(x))), a=Conv(3, 8, 1), b=Conv(8, 2, 1))
    # Channels c and 4 + c become neighbors 2c and 2c + 1.
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'a.weight')[0] == [('a', 8, 2, 1)]
    assert layout(graph, 'b.weight')[1] == [('a', 8, 1, 2)]


def test_chunks_keep_the_same_positions(groups):
    def halves(net, x):
        left, right = net.a(x).chunk(2, 1)
        return net.b(left * torch.sigmoid(right))

    graph = groups(PICTURE, halves, a=Conv(3, 8, 1), b=Conv(4, 2, 1))
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'a.weight')[0] == [('a', 8, 2, 1)]


def test_unequal_chunks_fix(groups):
    graph = groups(PICTURE, lambda net, x: net.b(net.a(x).chunk(2, 1)[1]), a=Conv(3, 7, 1), b=Conv(3, 2, 1))
    assert fixed(graph)['a'] == 'is cut into unequal parts by aten.chunk'


def test_permute_takes_channels_along(groups):
    graph = groups(PICTURE, lambda net, x: net.b(net.a(x).permute(0, 2, 3, 1)), a=Conv(3, 4, 1), b=Linear(4, 2))
    assert widths(graph) == {'a': 4}
    assert graph.groups[0].macs_per_channel == 36 * (3 + 2)


def test_transpose_and_squeeze_take_channels_along(groups):
    def turned(net, x):
        y = F.adaptive_avg_pool2d(net.a(x), 1).squeeze(-1).transpose(-1, -2)  # (1, 1, 4)
        return net.b(y.expand(-1, 5, -1))

    assert widths(groups(PICTURE, turned, a=Conv(3, 4, 1), b=Linear(4, 2))) == {'a': 4}


def test_fixed_positions_fix(groups):
    sliced = groups(PICTURE, lambda net, x: net.b(net.a(x)[:, 1:]), a=Conv(3, 4, 1), b=Conv(3, 2, 1))
    assert fixed(sliced)['a'].startswith('is cut at fixed positions by aten.slice')
    picked = groups(PICTURE, lambda net, x: net.b(net.a(x)[:, 1]), a=Conv(3, 4, 1), b=Linear(6, 2))
    assert fixed(picked)['a'] == 'is indexed at a fixed position by aten.select'
    whole = groups(PICTURE, lambda net, x: net.b(net.a(x)[:, :, 1:, 0:1]), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    assert widths(whole) == {'a': 4}


def test_a_part_that_only_shows_its_shape(groups):
    """As in BART, which counts its positions so."""

    def counted(net, x):
        y = net.a(x)
        return net.b(y) + torch.arange(y[:, -1].shape[-1])

    assert widths(groups(PICTURE, counted, a=Conv(3, 4, 1), b=Conv(4, 2, 1))) == {'a': 4}


# --- products of activations ----------------------------------------------------------------------


def attention(net, x):
    scores = net.q(x) @ net.k(x).transpose(1, 2)
    return net.o(scores.softmax(-1) @ net.v(net.m(x)))


def test_matrix_products_tie_what_they_sum_over_and_are_counted(groups, wired):
    layers = {'q': Linear(3, 4), 'k': Linear(3, 4), 'v': Linear(6, 5), 'm': Linear(3, 6), 'o': Linear(5, 2)}
    graph = groups((1, 7, 3), attention, **copy.deepcopy(layers))
    assert widths(graph) == {'q': 4, 'm': 6, 'v': 5}  # q and k are multiplied, v goes on to o
    assert fixed(graph) == {'o': OUTPUT}
    assert graph.groups[0].producers == ('q', 'k')
    assert graph.groups[0].channel_mixing
    # A channel of q: 7 rows of 3 products in q and in k, and one of each of the 49 products of rows.
    # A channel of v: 7 rows of 6 products in v and 2 in o, and 49 products of the scores with it.
    assert [group.macs_per_channel for group in graph.groups] == [2 * 21 + 49, 7 * (3 + 5), 7 * (6 + 2) + 49]
    # 7 rows: q and k 12 each, m 18, v 30, o 10; the products 7*7*4 and 7*7*5.
    assert int(graph.cost.macs_of(graph.full_widths[None])[0]) == 7 * (12 + 12 + 18 + 30 + 10) + 49 * 9
    model = wired(attention, **layers)
    counter = FlopCounterMode(display=False)
    with counter:
        model(torch.randn(1, 7, 3))
    assert counter.get_total_flops() / 2 == 7 * 82 + 49 * 9


def test_scaled_dot_product_attention_is_counted(groups):
    def attention_outputs(net, x):
        return F.scaled_dot_product_attention(net.q(x), net.k(x), net.v(x))

    graph = groups((1, 1, 7, 3), attention_outputs, q=Linear(3, 4), k=Linear(3, 4), v=Linear(3, 5))
    assert widths(graph) == {'q': 4}
    assert fixed(graph) == {'v': OUTPUT}
    assert int(graph.cost.macs_of(graph.full_widths[None])[0]) == 7 * (12 + 12 + 15) + 49 * (4 + 5)
    assert int(graph.cost.macs_of(graph.full_widths[None] - 3)[0]) == 7 * (3 + 3 + 15) + 49 * (1 + 5)


def test_sums_with_matrix_products_are_counted(groups):
    def summed(net, x):
        return torch.baddbmm(net.c(x), net.a(x), net.b(x).transpose(1, 2))

    graph = groups((1, 7, 3), summed, a=Linear(3, 4), b=Linear(3, 4), c=Linear(3, 7))
    assert widths(graph) == {'a': 4}
    assert int(graph.cost.macs_of(graph.full_widths[None])[0]) == 7 * (12 + 12 + 21) + 49 * 4


# --- unknown operators and rules of users ---------------------------------------------------------


@torch.library.custom_op('nni_cafenet_tests::twice', mutates_args=())
def twice(x: torch.Tensor, factor: float) -> torch.Tensor:
    return x * factor


@twice.register_fake
def _(x, factor):
    return torch.empty_like(x)


def doubled(net, x):
    return net.c(net.b(twice(net.a(x), 2.0)))


def three() -> dict[str, nn.Module]:
    return {'a': Conv(3, 4, 1), 'b': Conv(4, 5, 1), 'c': Conv(5, 2, 1)}


def test_an_unknown_operator_fixes_what_it_touches_and_nothing_else(groups):
    graph = groups(PICTURE, doubled, **three())
    assert widths(graph) == {'b': 5}
    assert fixed(graph) == {'a': 'reaches nni_cafenet_tests.twice, which has no rule', 'c': OUTPUT}


@pytest.mark.parametrize('name', ['nni_cafenet_tests.twice', 'nni_cafenet_tests::twice'])
def test_users_can_register_a_rule(groups, name):
    @register_rule(name)
    def rule(call, x, factor):
        assert factor == 2.0
        assert call.shape == (1, 4, 6, 6)
        return x.dims

    assert widths(groups(PICTURE, doubled, **three())) == {'a': 4, 'b': 5}


def test_a_rule_can_be_replaced():
    @register_rule('aten.relu')
    def rule(call, x):
        return x.dims

    assert find_rule('aten.relu') is rule
    assert find_rule('aten.no_such_operator') is None


@pytest.mark.parametrize(
    ('rule', 'reason'),
    [
        (lambda call, x, factor: x.dims[:2], 'does not give one dim for every dimension'),
        (lambda call, x, factor: None, 'failed with TypeError'),
        (lambda call, x, factor: {}['missing'], "failed with KeyError: 'missing'"),
    ],
    ids=['too few dims', 'nothing', 'error'],
)
def test_a_broken_rule_fixes_and_says_so(analyzed, wired, caplog, rule, reason):
    register_rule('nni_cafenet_tests.twice')(rule)
    graph = analyzed(wired(doubled, **three()), PICTURE)
    assert widths(graph) == {'b': 5}
    assert reason in fixed(graph)['a']
    assert reason in caplog.text


def test_real_forwards_find_a_wrong_rule(analyzed, verified, wired, caplog):
    # A flip of the channels does not keep them in place: channel c of the slim model is another one.
    register_rule('aten.flip')(lambda call, x, axes: x.dims)
    model = wired(lambda net, x: net.c(net.b(net.a(x).flip(1))), **three())
    assert widths(analyzed(model, PICTURE)) == {'a': 4, 'b': 5}
    graph = verified(model, PICTURE)
    assert widths(graph) == {'b': 5}
    assert fixed(graph)['a'] == 'at another width the network computes something else'
    assert 'channels of a keep their width' in caplog.text
