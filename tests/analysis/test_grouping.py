from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from nni_cafenet.analysis.constraints import Constraints
from nni_cafenet.analysis.grouping import group_channels
from nni_cafenet.graph.channel_graph import Segment


def chain(*shapes: tuple[int, int]) -> Constraints:
    """Linear layers in a row, by hand: weights (out, in), the input and the last output fixed."""
    constraints = Constraints()
    before = None
    for index, shape in enumerate(shapes):
        weight = constraints.parameter(f'{"abcdef"[index]}.weight', shape)
        constraints.produced.append((weight.name, 0))
        constraints.same(before, weight.dims[1], 'is an input')
        constraints.add_cost('linear', 6, [(shape[0], weight.dims[0]), (shape[1], weight.dims[1])])
        before = weight.dims[0]
    constraints.fix(before, 'is an output')
    return constraints


def test_a_chain_gives_a_group_between_two_layers():
    constraints = chain((4, 3), (5, 4), (2, 5))
    graph = group_channels(constraints, ['a.weight', 'b.weight', 'c.weight'])
    assert [(group.label, group.width) for group in graph.groups] == [('a', 4), ('b', 5)]
    assert [(record.label, record.width, record.reason) for record in graph.fixed] == [('c', 2, 'is an output')]
    # 6 a product: a 3*4, b 4*5, c 5*2.
    assert graph.cost.macs_of(np.array([[4, 5], [1, 2]])).tolist() == [6 * (12 + 20 + 10), 6 * (3 + 2 + 4)]
    assert graph.cost.params_of(np.array([[4, 5], [1, 2]])).tolist() == [42, 9]
    assert graph.groups[0].macs_per_channel == 6 * (3 + 5)
    # One layout for the output of a and the input of b.
    assert graph.dims == {'a.weight': (0, None), 'b.weight': (1, 0), 'c.weight': (None, 1)}
    assert len(graph.layouts) == 2


def test_only_tensors_that_are_named_parameters_are_counted():
    graph = group_channels(chain((4, 3), (2, 4)), ['a.weight'])
    assert graph.cost.params_of(np.array([[4]])).tolist() == [12]


def test_a_group_of_one_channel_is_fixed():
    constraints = chain((4, 3), (2, 4))
    # Channel 0 of a is fixed too, channel 1 stands twice: three unlike parts of one layer.
    weight = constraints.parameters['a.weight']
    constraints.fix(weight.dims[0][:1], 'is first')
    extra = constraints.parameter('bias', (2,))
    constraints.same(extra.dims[0][:1], weight.dims[0][1:2], '')
    constraints.same(extra.dims[0][1:], weight.dims[0][1:2], '')
    graph = group_channels(constraints, ['a.weight', 'b.weight', 'bias'])
    assert [(group.label, group.width) for group in graph.groups] == [('a', 2)]
    assert graph.layout_of('a.weight', 0) == [Segment(None, 2), Segment('a', 2)]
    (first, _) = graph.fixed
    assert (first.width, first.reason) == (2, 'is first; is a single channel')


def test_a_layer_with_one_output_is_listed(analyzed):
    graph = analyzed(nn.Sequential(nn.Conv2d(3, 1, 1), nn.Conv2d(1, 4, 1), nn.Conv2d(4, 2, 1)), (1, 3, 4, 4))
    assert [group.label for group in graph.groups] == ['1']
    assert [(record.label, record.width) for record in graph.fixed] == [('0', 1), ('2', 2)]
    assert graph.fixed[0].reason == 'is a single channel'


def test_parts_of_one_layer_get_numbers():
    # c makes 5 channels: the first 2 are tied to a, the other 3 to b; c comes first.
    constraints = Constraints()
    c, a, b = (
        constraints.parameter(f'{n}.weight', shape) for n, shape in [('c', (5, 3)), ('a', (2, 3)), ('b', (3, 3))]
    )
    for symbol in (c, a, b):
        constraints.produced.append((symbol.name, 0))
        constraints.fix(symbol.dims[1], '')
    constraints.same(c.dims[0][:2], a.dims[0], '')
    constraints.same(c.dims[0][2:], b.dims[0], '')
    graph = group_channels(constraints, ['c.weight', 'a.weight', 'b.weight'])
    assert [(group.label, group.width, group.producers) for group in graph.groups] == [
        ('c', 2, ('c', 'a')),
        ('c:2', 3, ('c', 'b')),
    ]


@pytest.mark.parametrize(
    ('name', 'number'),
    [
        ('mobilenet_v2', 25),
        ('resnet50', 37),
        ('resnet18', 12),
        ('vgg11_bn', 10),
    ],  # VGG-11: 8 convolutions, 2 of 3 linear
)
def test_numbers_of_groups_of_known_models(full_size, name, number):
    graph = full_size(name, 32 if name == 'vgg11_bn' else 224)
    assert len(graph.groups) == number
    assert [record.reason for record in graph.fixed] == ['is an output of the model']


def test_groups_of_resnet18_in_order(full_size):
    groups = {group.label: group for group in full_size('resnet18').groups}
    # The stem and the four convolutions that end the blocks of stage 1 meet in sums.
    assert groups['conv1'].producers == ('conv1', 'layer1.0.conv2', 'layer1.1.conv2')
    assert groups['conv1'].consumers == (
        'layer1.0.conv1', 'layer1.1.conv1', 'layer2.0.conv1', 'layer2.0.downsample.0',
    )  # fmt: skip
    assert groups['layer2.0.conv2'].producers == ('layer2.0.conv2', 'layer2.0.downsample.0', 'layer2.1.conv2')
    assert groups['layer4.0.conv2'].consumers == ('layer4.1.conv1', 'fc')
    assert groups['layer1.0.conv1'].members == ('layer1.0.conv1', 'layer1.0.bn1', 'layer1.0.conv2')
    assert list(groups)[:3] == ['conv1', 'layer1.0.conv1', 'layer1.1.conv1']
