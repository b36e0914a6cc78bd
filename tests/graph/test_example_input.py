from __future__ import annotations

import pytest
import torch
from torch import nn

from nni_cafenet.graph.example_input import ExampleInput

MODEL = nn.Linear(2, 2)


@pytest.mark.parametrize('shape', [(1, 3, 8, 8), [1, 3, 8, 8], torch.Size([1, 3, 8, 8])])
def test_a_shape_becomes_a_seeded_tensor_of_the_models_type(shape):
    example = ExampleInput.of(shape, nn.Linear(2, 2).double())
    (tensor,) = example.args
    assert tensor.shape == (1, 3, 8, 8)
    assert tensor.dtype == torch.float64
    assert torch.equal(tensor, ExampleInput.of(shape, nn.Linear(2, 2).double()).args[0])
    assert 0.5 < float(tensor.std()) < 1.5


def test_a_shape_for_a_model_without_parameters():
    assert ExampleInput.of((2, 3), nn.ReLU()).args[0].dtype == torch.float32


def test_tensors_tuples_and_keywords_are_passed_on():
    x, mask = torch.zeros(2, 3), torch.ones(2, dtype=torch.bool)
    assert ExampleInput.of(x, MODEL).args == (x,)
    assert ExampleInput.of((x, mask), MODEL).args == (x, mask)
    assert ExampleInput.of([x, 'nearest'], MODEL).args == (x, 'nearest')
    named = ExampleInput.of({'x': x, 'mask': mask}, MODEL)
    assert named.args == ()
    assert named.kwargs == {'x': x, 'mask': mask}
    assert ExampleInput.of(named, MODEL) is named
    assert named.tensors() == [x, mask]


@pytest.mark.parametrize('example', [None, 'picture', 3, (), []])
def test_anything_else_is_refused_with_what_would_do(example):
    with pytest.raises(TypeError, match=r'example_input=.* cannot be used. Give a shape such as \(1, 3, 224, 224\)'):
        ExampleInput.of(example, MODEL)


def test_dimension_0_of_the_first_tensor_is_the_batch():
    assert ExampleInput.of({'scale': torch.tensor(2.0), 'x': torch.zeros(5, 3)}, MODEL).batch_size == 5
    assert ExampleInput.of(('no', 'tensor'), MODEL).batch_size == 1


def test_training_gets_two_samples():
    x, scale = torch.rand(1, 3), torch.tensor(2.0)
    doubled = ExampleInput.of({'x': x, 'scale': scale}, MODEL).with_batch_of_two()
    assert torch.equal(doubled.kwargs['x'], x.expand(2, 3))
    assert doubled.kwargs['scale'] is scale
    two = ExampleInput.of(torch.zeros(2, 3), MODEL)
    assert two.with_batch_of_two() is two


def test_any_batch_is_made_of_the_first_sample():
    x, scale = torch.rand(2, 3), torch.tensor(2.0)
    example = ExampleInput.of({'x': x, 'y': {'deep': torch.ones(2)}, 'other': torch.ones(5), 'scale': scale}, MODEL)
    three = example.with_batch(3).kwargs
    assert torch.equal(three['x'], x[:1].expand(3, 3))
    assert three['y']['deep'].shape == (3,)
    assert three['other'].shape == (5,)
    assert torch.equal(three['scale'], scale)
    assert example.with_batch(1).batch_size == 1
    pictures = ExampleInput.of(([torch.zeros(3, 4, 4), torch.ones(3, 5, 5)],), MODEL).with_batch(4)
    assert [tuple(picture.shape) for picture in pictures.args[0]] == [(3, 4, 4)] * 4


def test_map_reaches_every_tensor():
    example = ExampleInput.of((torch.zeros(1, 3), {'deep': [torch.zeros(1)]}, 'word'), MODEL).map(lambda t: t + 1)
    assert torch.equal(example.args[0], torch.ones(1, 3))
    assert torch.equal(example.args[1]['deep'][0], torch.ones(1))
    assert example.args[2] == 'word'


def test_shapes_for_messages():
    assert ExampleInput.of((torch.zeros(1, 3), torch.zeros(2)), MODEL).describe() == '(1, 3), (2,)'
    assert ExampleInput.of(('word',), MODEL).describe() == 'no tensor'
