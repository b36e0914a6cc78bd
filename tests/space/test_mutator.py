from __future__ import annotations

import pytest
import torch
from torch import nn

from nni_cafenet import EqualBins, WidthMutator, WidthSpace
from nni_cafenet.testing import SmallResNet


def test_options_reach_the_space():
    mutator = WidthMutator(bins=EqualBins(4), min_ratio=0.5, divisor=8)
    space = mutator.mutate(SmallResNet, 7, width=16, example_input=(1, 1, 8, 8))
    assert isinstance(space, WidthSpace)
    assert space(torch.zeros(2, 1, 8, 8)).shape == (2, 7)  # the factory got its arguments
    assert set(space.choices.values()) == {(8, 16), (16, 24, 32), (32, 48, 64)}


def test_include_and_exclude_reach_the_analysis():
    whole = WidthMutator(verify=False).mutate(SmallResNet, example_input=(1, 1, 8, 8))
    label = whole.labels[-1]
    only = WidthMutator(include=[label], verify=False).mutate(SmallResNet, example_input=(1, 1, 8, 8))
    assert only.labels == (label,)
    rest = WidthMutator(exclude=[label], verify=False).mutate(SmallResNet, example_input=(1, 1, 8, 8))
    assert rest.labels == whole.labels[:-1]


def test_one_mutator_makes_many_spaces():
    mutator = WidthMutator(verify=False)
    first, second = (mutator.mutate(SmallResNet, example_input=(1, 1, 8, 8)) for _ in range(2))
    assert first.choices == second.choices
    assert next(first.parameters()) is not next(second.parameters())


def test_a_live_model_stays_the_users():
    model = SmallResNet()
    space = WidthMutator(verify=False).mutate(model, example_input=(1, 1, 8, 8))
    assert space.full_model is model
    assert [id(p) for p in space.parameters()] == [id(p) for p in model.parameters()]


@pytest.mark.parametrize('bins', [4, 'equal', EqualBins])
def test_bins_must_be_a_rule(bins):
    with pytest.raises(TypeError, match='bins=.* must be a Bins, such as FlopsSensitiveBins'):
        WidthMutator(bins=bins)


@pytest.mark.parametrize(
    ('model', 'args', 'message'),
    [
        (lambda: 'no module', (), r'The factory .* returned str, not a torch\.nn\.Module'),
        (lambda: None, (), 'returned NoneType'),
        (3, (), r'model=3 must be a torch\.nn\.Module or a factory'),
        (nn.Linear(2, 2), (10,), 'A live model takes no further arguments; give a factory'),
    ],
)
def test_what_is_no_model_is_refused(model, args, message):
    with pytest.raises(TypeError, match=message):
        WidthMutator().mutate(model, *args, example_input=(1, 2))


def test_errors_of_the_factory_are_the_users():
    def broken():
        raise KeyError('my own error')

    with pytest.raises(KeyError, match='my own error'):
        WidthMutator().mutate(broken, example_input=(1, 2))
