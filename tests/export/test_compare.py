"""What a model computes on inputs of the example's kind, and how far something else is from it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nni_cafenet.errors import TraceError
from nni_cafenet.export.compare import Sample, largest_difference, on_cpu, samples_of, tolerance_of
from nni_cafenet.graph.example_input import ExampleInput


def sample(*outputs: torch.Tensor) -> Sample:
    return Sample(ExampleInput((), {}), list(outputs), of_example_size=True)


def difference(ours: object, theirs: object) -> float:
    return largest_difference(lambda inputs: [torch.as_tensor(theirs)], [sample(torch.as_tensor(ours))])


@pytest.mark.parametrize(
    ('ours', 'theirs', 'expected'),
    [
        ([1.0, -4.0], [1.0, -4.0], 0),
        ([1.0, -4.0], [2.0, -4.0], 0.25),
        ([0.0, 0.0], [0.0, 0.5], 0.5),  # nothing to compare with
        ([1.0], [[1.0]], math.inf),
        ([1, 2], [1, 3], math.inf),
        ([True], [True], 0),
        ([math.nan, 2.0], [math.nan, 3.0], 0.5),
        ([math.nan, 2.0], [1.0, 2.0], math.inf),
        ([math.inf, 2.0], [-math.inf, 2.0], math.inf),
        ([1.0], [math.nan], math.inf),
        ([], [], 0),
    ],
)
def test_differences_by_hand(ours, theirs, expected):
    assert difference(ours, theirs) == expected


def test_the_largest_of_several_outputs_and_samples():
    samples = [sample(torch.ones(2), torch.full((1,), 8.0)), sample(torch.ones(2), torch.full((1,), 4.0))]
    assert largest_difference(lambda inputs: [torch.ones(2), torch.full((1,), 5.0)], samples) == 3 / 8
    assert largest_difference(lambda inputs: [torch.ones(2)], samples) == math.inf


def test_random_inputs_are_of_the_kind_of_the_example():
    def run(words, mask, scale):
        assert int(words.min()) >= 3
        assert int(words.max()) <= 5
        assert mask.dtype == torch.bool
        return scale * words

    model = nn.Module()
    model.forward = run
    words, mask = torch.tensor([[3, 4, 5], [5, 4, 3]]), torch.tensor([[True], [False]])
    samples = samples_of(model, ExampleInput((words, mask, torch.ones(1)), {}))
    assert [each.inputs.args[0].shape[0] for each in samples] == [2, 2, 2, 4]  # the last one is a larger batch
    assert [each.of_example_size for each in samples] == [True, True, True, False]
    assert [len(each.outputs) for each in samples] == [1] * 4
    assert not any(torch.equal(samples[0].inputs.args[2], each.inputs.args[2]) for each in samples[1:])


def test_random_inputs_that_the_model_rejects_are_left_out():
    class Strict(nn.Module):
        def forward(self, x):
            if not torch.equal(x, torch.arange(4)):
                raise ValueError(x)
            return x

    assert len(samples_of(Strict(), ExampleInput((torch.arange(4),), {}))) == 1


def test_the_model_is_a_copy_in_evaluation_mode():
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout())
    copied, example = on_cpu(model, (1, 2))
    assert model.training
    assert not copied.training
    assert copied[0].weight is not model[0].weight
    assert example.args[0].shape == (1, 2)


def test_arguments_stand_in_the_order_of_forward():
    class Two(nn.Module):
        def forward(self, a, b):
            return a - b

    _, example = on_cpu(Two(), {'b': torch.zeros(1), 'a': torch.ones(1)})
    assert [float(value) for value in example.args] == [1, 0]
    assert example.kwargs == {}


def test_bad_input():
    with pytest.raises(TraceError, match=r'example_input \(\(1, 3\)\) is rejected by the model Linear'):
        on_cpu(nn.Linear(2, 3), (1, 3))
    with pytest.raises(TypeError, match='slim must be a torch.nn.Module, not dict'):
        on_cpu({}, (1, 3))


def test_half_precision_may_differ_more():
    assert tolerance_of(nn.Linear(1, 1)) == 1e-4
    assert tolerance_of(nn.Linear(1, 1).half()) == 1e-2
