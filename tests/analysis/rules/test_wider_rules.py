"""Normalization, transposed convolutions, cutting, moving and products, with the groups worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.graphs import fixed, layout, widths
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet.analysis.analyze import analyze_model
from nni_cafenet.graph.attributes import Attribute
from nni_cafenet.graph.example_input import ExampleInput

Conv = nn.Conv2d
Linear = nn.Linear
PICTURE = (1, 3, 6, 6)
OUTPUT = 'is an output of the model'


def between(norm: nn.Module, channels: int = 4) -> dict[str, nn.Module]:
    return {'a': Conv(3, channels, 1), 'n': norm, 'b': Conv(channels, 2, 1)}


def chain(net, x):
    return net.b(net.n(net.a(x)))


# --- normalization --------------------------------------------------------------------------------


@pytest.mark.parametrize('norm', [nn.LayerNorm, nn.RMSNorm], ids=['layer', 'rms'])
def test_layer_normalization_follows_its_input_and_mixes(groups, norm):
    graph = groups((1, 5, 3), chain, a=Linear(3, 4), n=norm(4), b=Linear(4, 2))
    assert widths(graph) == {'a': 4}
    assert graph.groups[0].channel_mixing
    assert layout(graph, 'n.weight') == [[('a', 4, 1, 1)]]


def test_layer_normalization_of_pictures_with_channels_last(groups):
    graph = groups(
        PICTURE,
        lambda net, x: net.b(net.n(net.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2) * net.scale),
        scale=nn.Parameter(torch.rand(4, 1, 1)),
        **between(nn.LayerNorm(4)),
    )
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'scale') == [[('a', 4, 1, 1)], [], []]


def test_layer_normalization_over_whole_pictures(groups):
    graph = groups(PICTURE, chain, **between(nn.LayerNorm((4, 6, 6))))
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'n.weight') == [[('a', 4, 1, 1)], [], []]


def test_layer_normalization_without_a_weight_fixes(groups):
    graph = groups((1, 5, 3), chain, a=Linear(3, 4), n=nn.LayerNorm(4, elementwise_affine=False), b=Linear(4, 2))
    assert fixed(graph)['a'] == 'is normalized by aten.layer_norm without a weight whose size could follow'


def test_few_groups_of_a_normalization_shrink_inside(groups):
    graph = groups(PICTURE, chain, **between(nn.GroupNorm(2, 6), 6))
    assert widths(graph) == {'a': 3}  # both groups keep the same of their 3 channels
    assert layout(graph, 'n.weight') == layout(graph, 'n.bias') == [[('a', 6, 2, 1)]]
    assert graph.groups[0].channel_mixing
    assert graph.attributes == ()


def test_many_groups_of_a_normalization_go_as_wholes(groups):
    graph = groups(PICTURE, chain, **between(nn.GroupNorm(4, 8), 8))
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'n.weight') == [[('a', 8, 1, 2)]]
    assert not graph.groups[0].channel_mixing
    assert graph.attributes == (Attribute('n', 'num_groups', 'n.weight', 0, 2),)


@pytest.mark.parametrize('affine', [False, True])
def test_instance_normalization_keeps_channels_apart(groups, affine):
    graph = groups(PICTURE, chain, **between(nn.InstanceNorm2d(4, affine=affine)))
    assert widths(graph) == {'a': 4}
    assert not graph.groups[0].channel_mixing


# --- layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('up', 'shape', 'conv'),
    [
        (nn.ConvTranspose1d, (2, 3, 6), nn.Conv1d),
        (nn.ConvTranspose2d, (2, 3, 6, 6), nn.Conv2d),
        (nn.ConvTranspose3d, (2, 3, 4, 4, 4), nn.Conv3d),
    ],
)
def test_transposed_convolutions(groups, up, shape, conv):
    graph = groups(
        shape, lambda net, x: net.b(net.u(net.a(x))), a=conv(3, 4, 1), u=up(4, 5, 2, stride=2), b=conv(5, 2, 1)
    )
    assert widths(graph) == {'a': 4, 'u': 5}
    assert layout(graph, 'u.weight')[:2] == [[('a', 4, 1, 1)], [('u', 5, 1, 1)]]
    assert layout(graph, 'u.bias') == [[('u', 5, 1, 1)]]
    assert graph.groups[0].consumers == ('u',)


def test_depthwise_transposed_convolutions(groups):
    up = nn.ConvTranspose2d(4, 8, 2, stride=2, groups=4)
    graph = groups(PICTURE, lambda net, x: net.b(net.u(net.a(x))), a=Conv(3, 4, 1), u=up, b=Conv(8, 2, 1))
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'u.bias') == [[('a', 8, 1, 2)]]  # outputs 2c and 2c + 1 are of input c
    assert graph.attributes == (Attribute('u', 'groups', 'u.weight', 0, 1),)


def test_transposed_convolutions_of_few_wide_groups(groups):
    up = nn.ConvTranspose2d(6, 8, 2, groups=2)
    graph = groups(PICTURE, lambda net, x: net.b(net.u(net.a(x))), a=Conv(3, 6, 1), u=up, b=Conv(8, 2, 1))
    assert widths(graph) == {'a': 3, 'u': 4}
    assert layout(graph, 'a.weight')[0] == [('a', 6, 2, 1)]
    assert layout(graph, 'b.weight')[1] == [('u', 8, 2, 1)]


def test_embeddings_make_channels(groups):
    graph = groups(
        (1, 5), lambda net, x: net.b(net.e(x.abs().long().clamp(max=6))), e=nn.Embedding(7, 4), b=Linear(4, 2)
    )
    assert widths(graph) == {'e': 4}
    assert layout(graph, 'e.weight') == [[], [('e', 4, 1, 1)]]
    assert graph.groups[0].producers == ('e',)


# --- cutting and joining --------------------------------------------------------------------------


@pytest.mark.parametrize(
    'halves',
    [
        lambda y: y.split(y.shape[1] // 2, 1),
        lambda y: (y[:, : y.shape[1] // 2], y[:, y.shape[1] // 2 :]),
        lambda y: (y.narrow(1, 0, y.shape[1] // 2), y.narrow(1, y.shape[1] // 2, y.shape[1] // 2)),
    ],
    ids=['split', 'slices', 'narrow'],
)
def test_equal_parts_of_a_dimensions_own_size_keep_the_same_positions(groups, halves):
    def gated(net, x):
        left, right = halves(net.a(x))
        return net.b(left * torch.sigmoid(right))

    graph = groups(PICTURE, gated, a=Conv(3, 8, 1), b=Conv(4, 2, 1))
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'a.weight')[0] == [('a', 8, 2, 1)]


@pytest.mark.parametrize(
    'halves',
    [lambda y: y.split(4, 1), lambda y: (y[:, :4], y[:, 4:]), lambda y: (y[:, 4:], y[:, :4])],
    ids=['split', 'slices', 'turned'],
)
def test_equal_parts_of_numbers_in_the_code_are_found(verified, wired, halves):
    def gated(net, x):
        left, right = halves(net.a(x))
        return net.b(left * torch.sigmoid(right))

    assert widths(verified(wired(gated, a=Conv(3, 8, 1), b=Conv(4, 2, 1)), PICTURE)) == {}


def test_unequal_parts_fix(groups):
    graph = groups(PICTURE, lambda net, x: net.b(net.a(x).split([1, 3], 1)[1]), a=Conv(3, 4, 1), b=Conv(3, 2, 1))
    assert fixed(graph)['a'].startswith('is cut at fixed positions by aten.split_with_sizes')


def test_uneven_parts_that_were_joined_there_change_by_themselves(groups):
    def joined(net, x):
        one, two = net.a(x), net.b(x)
        first, second = torch.cat([one, two], 1).split([one.shape[1], two.shape[1]], 1)
        return net.c(first) + net.d(second)

    layers = {'a': Conv(3, 4, 1), 'b': Conv(3, 6, 1), 'c': Conv(4, 2, 1), 'd': Conv(6, 2, 1)}
    graph = groups(PICTURE, joined, **layers)
    assert widths(graph) == {'a': 4, 'b': 6}
    assert graph.groups[0].consumers == ('c',)
    assert graph.groups[1].consumers == ('d',)


def test_queries_beside_keys_and_values_of_another_input(wired, caplog):
    # torch cuts the joined weight into [E, 2 E]: the inputs of the attention change with the stream that they read.
    def crossed(net, x):
        y = net.a(x)
        return net.b(net.attend(y, net.other(x), net.other(x), need_weights=False)[0] + y)

    attend = nn.MultiheadAttention(4, 2, batch_first=True)
    layers = {'a': Linear(3, 4), 'other': Linear(3, 4), 'attend': attend, 'b': Linear(4, 2)}
    model = wired(crossed, **layers)
    example = ExampleInput.of((1, 5, 3), model)
    graph = analyze_model(model, example)
    assert 'keep their width' not in caplog.text
    assert widths(graph)['a'] == 2  # of each of the 2 heads
    assert layout(graph, 'attend.in_proj_weight')[0] == [('a', 12, 6, 1)]


def test_glu_gates_one_half_by_the_other(groups):
    graph = groups(PICTURE, lambda net, x: net.b(F.glu(net.a(x), 1)), a=Conv(3, 8, 1), b=Conv(4, 2, 1))
    assert layout(graph, 'a.weight')[0] == [('a', 8, 2, 1)]


def test_patches_are_merged_into_channels(groups):
    def merged(net, x):
        y = net.a(x).permute(0, 2, 3, 1)
        return net.b(net.n(torch.cat([y[:, 0::2, 0::2], y[:, 1::2, 0::2], y[:, 0::2, 1::2], y[:, 1::2, 1::2]], -1)))

    graph = groups(PICTURE, merged, a=Conv(3, 4, 1), n=nn.LayerNorm(16), b=Linear(16, 2))
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'n.weight') == [[('a', 16, 4, 1)]]


def test_a_class_token_stands_before_the_patches(groups):
    def tokens(net, x):
        y = net.a(x).flatten(2).transpose(1, 2)
        y = torch.cat([net.token.expand(y.shape[0], -1, -1), y], 1) + net.places
        return net.b(net.n(y)[:, 0])

    graph = groups(
        PICTURE,
        tokens,
        token=nn.Parameter(torch.rand(1, 1, 4)),
        places=nn.Parameter(torch.rand(1, 37, 4)),
        a=Conv(3, 4, 1),
        n=nn.LayerNorm(4),
        b=Linear(4, 2),
    )
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'token') == layout(graph, 'places') == [[], [], [('a', 4, 1, 1)]]


def test_stack_and_unbind_use_dimensions_of_their_own(groups):
    def stacked(net, x):
        both = torch.stack([net.a(x), net.c(x)], 1)
        left, right = both.unbind(1)
        return net.b(left * right)

    graph = groups(PICTURE, stacked, a=Conv(3, 4, 1), c=Conv(3, 4, 1), b=Conv(4, 2, 1))
    assert widths(graph) == {'a': 4}
    assert graph.groups[0].producers == ('a', 'c')


def test_unbind_over_channels_fixes(groups):
    graph = groups(PICTURE, lambda net, x: net.b(torch.stack(net.a(x).unbind(1), 1)), **between(nn.Identity()))
    assert 'unbind' in fixed(graph)['a']


def test_tables_are_looked_up(groups):
    def biased(net, x):
        bias = net.table[net.places.view(-1)].view(2, 2, -1).permute(2, 0, 1)
        return net.b(net.a(x).mean((2, 3)) + bias.sum((1, 2)))

    graph = groups(
        PICTURE,
        biased,
        a=Conv(3, 4, 1),
        table=nn.Parameter(torch.rand(3, 4)),
        places=torch.tensor([[0, 2], [1, 0]]),
        b=Linear(4, 2),
    )
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'table') == [[], [('a', 4, 1, 1)]]
    picked = groups(
        PICTURE, lambda net, x: net.b(net.a(x)[:, net.n]), a=Conv(3, 4, 1), n=torch.tensor([2, 0]), b=Conv(2, 2, 1)
    )
    assert widths(picked) == {'a': 2, 'a:2': 2}  # chosen, and not
    assert [table.path for table in picked.tables] == ['n']


def test_what_no_layer_makes_stays(groups):
    graph = groups(
        PICTURE, lambda net, x: net.b(x.mean((2, 3)).sum() + net.table), table=torch.rand(5, 4), b=Linear(4, 2)
    )
    assert widths(graph) == {}


# --- moving ---------------------------------------------------------------------------------------


def test_flipped_channels_stand_in_reverse(groups):
    graph = groups(PICTURE, lambda net, x: net.b(net.a(x).flip(1, 2)), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    assert widths(graph) == {'a': 4}
    assert graph.positions({'a': [0, 1]})[graph.dims['b.weight'][1]].tolist() == [2, 3]


def test_rolling_pictures_and_channels(groups):
    graph = groups(PICTURE, lambda net, x: net.b(net.a(x).roll((1, 2), (2, 3))), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    assert widths(graph) == {'a': 4}
    graph = groups(PICTURE, lambda net, x: net.b(net.a(x).roll(1, 1)), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    assert fixed(graph)['a'].startswith('is shifted by a fixed number of positions in aten.roll')


def test_pixel_shuffle_takes_neighbors_together(groups):
    graph = groups(PICTURE, lambda net, x: net.b(F.pixel_shuffle(net.a(x), 2)), a=Conv(3, 12, 1), b=Conv(3, 2, 1))
    assert widths(graph) == {'a': 3}
    assert layout(graph, 'a.weight')[0] == [('a', 12, 1, 4)]
    graph = groups(PICTURE, lambda net, x: net.b(F.pixel_unshuffle(net.a(x), 2)), a=Conv(3, 4, 1), b=Conv(16, 2, 1))
    assert layout(graph, 'b.weight')[1] == [('a', 16, 1, 4)]


def test_repeated_channels(groups):
    graph = groups(PICTURE, lambda net, x: net.b(net.a(x).repeat(1, 2, 1, 1)), a=Conv(3, 4, 1), b=Conv(8, 2, 1))
    assert layout(graph, 'b.weight')[1] == [('a', 8, 2, 1)]
    graph = groups(PICTURE, lambda net, x: net.b(net.a(x).repeat_interleave(2, 1)), a=Conv(3, 4, 1), b=Conv(8, 2, 1))
    assert layout(graph, 'b.weight')[1] == [('a', 8, 1, 2)]


def test_the_shuffle_of_torch(groups):
    graph = groups(PICTURE, lambda net, x: net.b(F.channel_shuffle(net.a(x), 2)), a=Conv(3, 8, 1), b=Conv(8, 2, 1))
    assert layout(graph, 'a.weight')[0] == [('a', 8, 2, 1)]
    assert layout(graph, 'b.weight')[1] == [('a', 8, 1, 2)]


def test_dimensions_in_another_order(groups):
    graph = groups(
        PICTURE, lambda net, x: net.b(net.a(x).movedim(1, -1).swapaxes(1, 2)), a=Conv(3, 4, 1), b=Linear(4, 2)
    )
    assert widths(graph) == {'a': 4}


def test_masks_and_unfolding(groups):
    def masked(net, x):
        y = net.a(x)
        y = y.masked_fill(x[:, :1] > 0, 0.0)
        return net.b(F.unfold(torch.where(x[:, 1:2] > 0, y, y * 2), 3).transpose(1, 2))

    graph = groups(PICTURE, masked, a=Conv(3, 4, 1), b=Linear(36, 2))
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'b.weight')[1] == [('a', 36, 1, 9)]


def shuffled_halves(blocks: int):
    """Blocks of ShuffleNetV2: one half stays, the other is convolved, then both are interleaved."""

    def run(net, x):
        y = net.a(x)
        for index in range(blocks):
            left, right = y.chunk(2, 1)
            y = F.channel_shuffle(torch.cat([left, getattr(net, f'c{index}')(right)], 1), 2)
        return net.b(y)

    return run


def test_halves_and_shuffles_leave_what_every_block_can_keep_apart(groups):
    # Halves keep the same positions: c and c + 4 of the 8 outputs of a. The first shuffle interleaves them with the 4
    # outputs of c0, whose neighbors then are 0 0 1 1 | 2 2 3 3: halves of that tie 0 with 2 and 1 with 3.
    graph = groups(PICTURE, shuffled_halves(1), a=Conv(3, 8, 1), c0=Conv(4, 4, 1), b=Conv(8, 2, 1))
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'b.weight')[1] == [('a', 8, 1, 2)]
    two = {'c0': Conv(4, 4, 1), 'c1': Conv(4, 4, 1)}
    graph = groups(PICTURE, shuffled_halves(2), a=Conv(3, 8, 1), **two, b=Conv(8, 2, 1))
    assert widths(graph) == {'a': 2}
    assert layout(graph, 'a.weight')[0] == [('a', 8, 4, 1)]


def test_too_many_shuffles_tie_all_channels(groups):
    layers = {f'c{index}': Conv(4, 4, 1) for index in range(4)}
    graph = groups(PICTURE, shuffled_halves(4), a=Conv(3, 8, 1), **layers, b=Conv(8, 2, 1))
    assert widths(graph) == {}
    assert fixed(graph)['a'] == 'its channels can only be kept or removed all together'


# --- products -------------------------------------------------------------------------------------


def test_einsum_lines_letters_up(groups, wired):
    def attention_outputs(net, x):
        scores = torch.einsum('b i d, b j d -> b i j', net.q(x), net.k(x)).softmax(-1)
        return net.o(torch.einsum('bij,bjd->bid', scores, net.v(x)))

    layers = {'q': Linear(3, 4), 'k': Linear(3, 4), 'v': Linear(3, 5), 'o': Linear(5, 2)}
    graph = groups((1, 7, 3), attention_outputs, **layers)
    assert widths(graph) == {'q': 4, 'v': 5}
    # Down to one, the first product is made element by element, which no counter sees: 49 * 5 of the second are left.
    one = int(graph.cost.macs_of(graph.full_widths[None] * 0 + [[1, 5]])[0])
    assert one == 7 * (3 + 3 + 15 + 10) + 49 * 5
    slim = wired(attention_outputs, q=Linear(3, 1), k=Linear(3, 1), v=Linear(3, 5), o=Linear(5, 2))
    counter = FlopCounterMode(display=False)
    with counter:
        slim(torch.randn(1, 7, 3))
    assert counter.get_total_flops() / 2 == one


def test_dots_in_an_einsum_stand_for_the_dimensions_that_line_up(groups):
    def scaled(net, x):
        y = torch.einsum('...d,d->...d', net.a(x), net.g)
        return net.b(torch.einsum('b...c,...oc->b...o', y, net.w))

    graph = groups(
        (1, 7, 3),
        scaled,
        a=Linear(3, 4),
        g=nn.Parameter(torch.rand(4)),
        w=nn.Parameter(torch.rand(7, 5, 4)),
        b=Linear(5, 2),
    )
    assert widths(graph) == {'a': 4, 'w': 5}
    assert layout(graph, 'w') == [[], [('w', 5, 1, 1)], [('a', 4, 1, 1)]]
    assert int(graph.cost.macs_of(graph.full_widths[None])[0]) == 7 * (3 * 4 + 4 * 5 + 5 * 2)


def test_an_einsum_over_several_letters(groups):
    """As in Kolmogorov-Arnold networks: a sum over inputs and over functions of each."""

    def curves(net, x):
        y = net.a(x)
        waves = torch.stack([torch.sin((k + 1) * y) for k in range(4)], -1)
        return torch.einsum('big,oig->bo', waves, net.w)

    graph = groups((1, 5), curves, a=Linear(5, 12), w=nn.Parameter(torch.rand(3, 12, 4)))
    assert widths(graph) == {'a': 12}
    assert graph.cost.macs_of(np.array([[12], [5]])).tolist() == [5 * 12 + 12 * 4 * 3, 5 * 5 + 5 * 4 * 3]


def test_other_einsums_fix(groups):
    graph = groups(
        (1, 7, 3),
        lambda net, x: net.b(torch.einsum('bnd,d,d->bnd', net.a(x), net.g, net.g)),
        a=Linear(3, 4),
        g=nn.Parameter(torch.rand(4)),
        b=Linear(4, 2),
    )
    assert fixed(graph)['a'] == 'cannot change in aten.einsum'


def test_a_bare_matrix_is_a_layer(groups):
    graph = groups(
        (1, 7, 3),
        lambda net, x: net.b(net.a(x) @ net.w),
        a=Linear(3, 4),
        w=nn.Parameter(torch.rand(4, 5)),
        b=Linear(5, 2),
    )
    assert widths(graph) == {'a': 4, 'w': 5}
    assert not graph.groups[0].channel_mixing


# --- whole heads, folds, masks --------------------------------------------------------------------


def test_whole_heads_go_where_the_code_leaves_their_number_open(groups):
    def attend(net, x):  # x: (batch, 5 rows, 3)
        query, key, value = (layer(x).view(len(x), 5, -1, 4).transpose(1, 2) for layer in (net.q, net.k, net.v))
        y = F.scaled_dot_product_attention(query, key, value)
        return net.o(y.transpose(1, 2).reshape(len(x), 5, -1))

    graph = groups((2, 5, 3), attend, q=Linear(3, 24), k=Linear(3, 24), v=Linear(3, 24), o=Linear(24, 2))
    assert widths(graph) == {'q': 6}  # heads
    assert layout(graph, 'q.weight') == [[('q', 24, 1, 4)], []]
    assert layout(graph, 'o.weight') == [[], [('q', 24, 1, 4)]]
    assert int(graph.cost.macs_of(torch.tensor([[2]]).numpy())[0]) == 5 * 8 * 3 * 3 + 2 * 2 * 5 * 5 * 4 + 5 * 8 * 2


def test_grouped_queries_go_with_the_head_that_serves_them(groups):
    def attend(net, x):
        query = net.q(x).view(len(x), 5, -1, 4).transpose(1, 2)
        key, value = (layer(x).view(len(x), 5, -1, 4).transpose(1, 2) for layer in (net.k, net.v))
        y = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
        return net.o(y.transpose(1, 2).reshape(len(x), 5, -1))

    graph = groups((2, 5, 3), attend, q=Linear(3, 24), k=Linear(3, 12), v=Linear(3, 12), o=Linear(24, 2))
    assert widths(graph) == {'q': 3}
    assert layout(graph, 'q.weight') == [[('q', 24, 1, 8)], []]
    assert layout(graph, 'k.weight') == [[('q', 12, 1, 4)], []]


def test_heads_that_are_repeated_by_hand(groups):
    def attend(net, x):
        query = net.q(x).view(len(x), 5, -1, 4).transpose(1, 2)
        key, value = (layer(x).view(len(x), 5, -1, 4).transpose(1, 2) for layer in (net.k, net.v))
        key, value = (
            t[:, :, None].expand(len(x), t.shape[1], 2, 5, 4).reshape(len(x), t.shape[1] * 2, 5, 4)
            for t in (key, value)
        )
        y = (query @ key.transpose(2, 3) / 2).softmax(-1) @ value
        return net.o(y.transpose(1, 2).reshape(len(x), 5, -1))

    graph = groups((2, 5, 3), attend, q=Linear(3, 24), k=Linear(3, 12), v=Linear(3, 12), o=Linear(24, 2))
    assert widths(graph) == {'q': 3}
    assert layout(graph, 'q.weight') == [[('q', 24, 1, 8)], []]


def test_folding_adds_up_the_positions_of_a_kernel(groups):
    graph = groups(
        PICTURE,
        lambda net, x: net.b(F.fold(F.unfold(net.a(x), 2, stride=2), (6, 6), 2, stride=2)),
        a=Conv(3, 4, 1),
        b=Conv(4, 2, 1),
    )
    assert widths(graph) == {'a': 4}


def test_reshaping_to_the_shape_of_another(groups):
    graph = groups(
        PICTURE,
        lambda net, x: net.b(net.a(x).flatten(2).reshape_as(net.c(x)) + net.c(x)),
        a=Conv(3, 4, 1),
        b=Conv(4, 2, 1),
        c=Conv(3, 4, 1),
    )
    assert widths(graph) == {'a': 4}


def test_a_mask_over_several_dimensions_leaves_the_others_free(groups):
    def run(net, x):  # x: (batch, rows, 3)
        y = net.a(x)
        mask = torch.ones(len(x), 5, dtype=torch.bool, device=x.device)
        mask[:, 3:] = False
        y = torch.index_put(y, (mask,), net.embedding.weight[0])
        return net.b(y)

    graph = groups((2, 5, 3), run, a=Linear(3, 4), b=Linear(4, 2), embedding=nn.Embedding(2, 4))
    assert widths(graph) == {'a': 4}
    assert layout(graph, 'embedding.weight') == [[], [('a', 4, 1, 1)]]
