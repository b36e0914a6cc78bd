from __future__ import annotations

import json

import torch
from torch import nn

from nni_cafenet.graph.example_input import ExampleInput
from nni_cafenet.latency.recorded_ops import Operator, form, recorded_operators, sizes, tensor_sizes, with_sizes

CPU = torch.device('cpu')


def record(model, *inputs):
    return recorded_operators(model, ExampleInput(inputs, {}))


def arguments(operator):
    return json.loads(operator.arguments)


def test_operators_are_recorded_in_order_without_views():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4))
    convolution, relu, linear = record(model, torch.zeros(1, 3, 3, 3))
    assert [operator.name for operator in (convolution, relu, linear)] == [
        'aten.convolution.default',
        'aten.relu.default',
        'aten.addmm.default',
    ]
    assert tensor_sizes(arguments(convolution)) == [[1, 3, 3, 3], [8, 3, 3, 3], [8]]
    assert tensor_sizes(arguments(linear)) == [[4], [1, 8], [8, 4]]  # bias, input, transposed weight
    # Stride, padding, dilation, output padding, groups.
    assert sizes(arguments(convolution))[-9:] == [2, 2, 0, 0, 1, 1, 0, 0, 1]


def test_an_operator_runs_again_on_tensors_laid_out_alike():
    linear = record(nn.Linear(8, 4), torch.zeros(2, 8))[0]
    assert arguments(linear)[0][2] == {'.tensor': 'float32', 'shape': [8, 4], 'order': '1,0', 'expanded': ''}
    out = linear.prepared(CPU)()
    assert out.shape == (2, 4)
    assert out.unique().tolist() == [9.0]  # a bias of one, and eight products of ones


def test_layouts_and_dtypes():
    picture = torch.zeros(2, 3, 4, 5, dtype=torch.float64).to(memory_format=torch.channels_last)
    (relu,) = record(nn.ReLU(), picture)
    assert arguments(relu)[0][0] == {'.tensor': 'float64', 'shape': [2, 3, 4, 5], 'order': '0,2,3,1', 'expanded': ''}
    out = relu.prepared(CPU)()
    assert out.dtype == torch.float64
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_expanded_tensors_stay_expanded():
    class Add(nn.Module):
        def forward(self, x):
            return x + torch.ones(3, 1).expand(3, 4)

    add = record(Add(), torch.zeros(3, 4))[-1]
    assert arguments(add)[0][1]['expanded'] == '1'
    assert add.prepared(CPU)().tolist() == [[2.0] * 4] * 3


def test_indices_are_zeros_and_keywords_are_kept():
    class Look(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(5, 3)

        def forward(self, x):
            return torch.sum(self.table(x), dim=1, dtype=torch.float64)

    look, total = record(Look(), torch.tensor([[4, 2]]))
    assert look.name == 'aten.embedding.default'
    assert look.prepared(CPU)().shape == (1, 2, 3)
    assert arguments(total)[1] == {'dtype': {'.torch': 'float64'}}
    assert total.prepared(CPU)().dtype == torch.float64


def test_tensors_in_lists():
    class Join(nn.Module):
        def forward(self, x, y):
            return torch.cat([x, y], 1)

    (join,) = record(Join(), torch.zeros(2, 3), torch.zeros(2, 5))
    assert tensor_sizes(arguments(join)) == [[2, 3], [2, 5]]
    assert join.prepared(CPU)().shape == (2, 8)


def test_what_is_no_plain_data_has_no_arguments():
    class Draw(nn.Module):
        def forward(self, x):
            return torch.randn(3, generator=torch.Generator().manual_seed(0)) + x

    draw = record(Draw(), torch.zeros(3))[0]
    assert draw == Operator('aten.randn.generator', '')


def test_recording_leaves_inputs_and_random_numbers_alone():
    x = torch.zeros(4)
    state = torch.get_rng_state()
    record(nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(0.5).train()), x)
    assert torch.equal(torch.get_rng_state(), state)
    assert x.tolist() == [0.0] * 4


def test_sizes_are_put_back_where_they_were():
    given = [[{'.tensor': 'float32', 'shape': [1, 2], 'order': '0,1', 'expanded': ''}, 3, True, 0.5], {'dim': 4}]
    assert sizes(given) == [1, 2, 3, 4]
    assert with_sizes(given, [5, 6, 7, 8]) == [[{**given[0][0], 'shape': [5, 6]}, 7, True, 0.5], {'dim': 8}]
    assert form(given) == form(with_sizes(given, [5, 6, 7, 8]))
    assert form(given) == form([[given[0][0], 3, True, 0.25], {'dim': 4}])
    assert form(given) != form([[{**given[0][0], 'shape': [1, 2, 3]}, 3, True, 0.5], {'dim': 4}])
    assert form(given) != form([[given[0][0], 3, False, 0.5], {'dim': 4}])
