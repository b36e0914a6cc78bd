from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from nni_cafenet.graph.channel_graph import ChannelGroup, FixedChannels, Layout, Listing, Segment

Conv = nn.Conv2d


@pytest.fixture
def graph(analyzed):
    """0 makes 4 channels, 1 makes 6, 2 makes 2, which are the output."""
    return analyzed(nn.Sequential(Conv(3, 4, 1), Conv(4, 6, 1), Conv(6, 2, 1)), (1, 3, 2, 2))


def test_a_listing_prints_as_a_table():
    rows = Listing([FixedChannels('a', 3, 'is an output'), FixedChannels('layer', 40, 'is excluded')])
    head, _, first, second = str(rows).splitlines()
    assert head.replace('|', ' ').split() == ['layer', 'width', 'reason']
    assert first.replace('|', ' ').split() == ['a', '3', 'is', 'an', 'output']
    assert first.index('3') == second.index('40') + 1  # numbers to the right, words to the left
    assert first.index('is') == second.index('is')
    assert str(Listing()) == '(none)'
    assert rows[1].label == 'layer'


def test_the_row_of_a_group_shortens_long_lists():
    group = ChannelGroup('a', 8, tuple('abcde'), ('f',), ('n',), 100)
    assert group.row() == {
        'group': 'a',
        'width': 8,
        'MACs per channel': 100,
        'producers': 'a, b, c and 2 more',
        'consumers': 'f',
    }
    assert group.members == ('a', 'b', 'c', 'd', 'e', 'n', 'f')


def test_segments_tell_repeats_from_neighbors():
    groups = [ChannelGroup('a', 3, (), (), (), 0), ChannelGroup('b', 2, (), (), (), 0)]
    layout = Layout(
        # a repeated: 0 1 2 0 1 2; two fixed; b with three positions a channel: 0 0 0 1 1 1
        groups=np.array([0] * 6 + [-1] * 2 + [1] * 6),
        channels=np.array([0, 1, 2, 0, 1, 2] + [0] * 2 + [0, 0, 0, 1, 1, 1]),
    )
    assert layout.segments(groups) == [Segment('a', 6, 2, 1), Segment(None, 2), Segment('b', 6, 1, 3)]
    assert len(layout) == 14


def test_positions_that_channel_sets_select(graph):
    (output_0,) = {graph.dims['0.weight'][0]}
    output_1 = graph.dims['1.weight'][0]
    positions = graph.positions({'0': [1, 3]})
    assert positions[output_0].tolist() == [1, 3]
    assert positions[output_1] is None  # left out: all channels
    assert graph.positions({'0': range(4), '1': [5]})[output_0] is None  # all of them
    assert graph.positions({'0': range(4), '1': [5]})[output_1].tolist() == [5]


def test_places_that_channels_change(graph):
    places = graph.permuted_positions({'0': [2, 0, 1, 3]})
    assert places[graph.dims['0.weight'][0]].tolist() == [2, 0, 1, 3]
    assert places[graph.dims['1.weight'][0]] is None
    assert [place is None for place in graph.permuted_positions({'0': [0, 1, 2, 3]})] == [True] * len(graph.layouts)


def test_places_in_a_layout_of_repeats_neighbors_and_fixed_runs(graph):
    layout = Layout(
        groups=np.array([0] * 8 + [-1] * 2 + [1] * 12),
        channels=np.array([0, 1, 2, 3] * 2 + [0] * 2 + [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
    )
    (place,) = replace(graph, layouts=(layout,)).permuted_positions({'0': [3, 1, 0, 2], '1': [5, 1, 2, 3, 4, 0]})
    assert place.tolist() == [3, 1, 0, 2, 7, 5, 4, 6, 8, 9, 20, 21, *range(12, 20), 10, 11]


def test_the_dimensions_that_are_output_channels(wired, analyzed):
    layers = {'a': Conv(3, 4, 1), 'b': nn.ConvTranspose2d(4, 5, 1), 'c': Conv(5, 2, 1)}
    graph = analyzed(wired(lambda net, x: net.c(net.b(net.a(x))), **layers), (1, 3, 2, 2))
    assert graph.produced == (('a.weight', 0), ('b.weight', 1), ('c.weight', 0))


def test_labels_and_full_widths_are_in_order(graph):
    assert graph.labels == ('0', '1')
    assert graph.full_widths.tolist() == [4, 6]
    assert graph.layout_of('2.weight', 1) == [Segment('1', 6)]
    assert graph.layout_of('2.weight', 2) == []


def test_a_group_can_be_fixed_later(graph):
    less = graph.with_fixed({'0': 'is excluded'})
    assert less.labels == ('1',)
    assert [(record.label, record.reason) for record in less.fixed] == [
        ('2', 'is an output of the model'),
        ('0', 'is excluded'),
    ]
    assert '0.weight' not in less.dims  # nothing of it can change now
    assert less.dims['1.weight'][1] is None
    assert less.layout_of('1.weight', 0) == [Segment('1', 6)]
    widths = np.array([[1], [6]])
    full = np.array([[4, 1], [4, 6]])
    assert less.cost.macs_of(widths).tolist() == graph.cost.macs_of(full).tolist()
    assert less.cost.params_of(widths).tolist() == graph.cost.params_of(full).tolist()
    assert less.positions({'1': [2]})[less.dims['2.weight'][1]].tolist() == [2]


def test_fixing_nothing_changes_nothing(graph):
    assert graph.with_fixed({}) is graph


def test_fixing_drops_what_follows_a_width(analyzed):
    model = nn.Sequential(Conv(3, 4, 1), Conv(4, 4, 3, groups=4), Conv(4, 2, 1))
    graph = analyzed(model, (1, 3, 4, 4))
    assert [attribute.module for attribute in graph.attributes] == ['1']
    assert graph.with_fixed({'0': 'is excluded'}).attributes == ()


def test_a_layout_keeps_the_segments_of_other_groups(analyzed, wired):
    import torch

    model = wired(
        lambda net, x: net.c(torch.cat([net.a(x), net.b(x)], 1)), a=Conv(3, 4, 1), b=Conv(3, 2, 1), c=Conv(6, 2, 1)
    )
    graph = analyzed(model, (1, 3, 2, 2)).with_fixed({'a': 'is excluded'})
    assert graph.layout_of('c.weight', 1) == [Segment(None, 4), Segment('b', 2)]
    assert graph.positions({'b': [1]})[graph.dims['c.weight'][1]].tolist() == [0, 1, 2, 3, 5]
