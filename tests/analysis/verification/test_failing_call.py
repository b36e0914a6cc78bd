"""The call in which a forward failed, repeated alone; and what a search for attributes spends on whole forwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from nni_cafenet import WidthSpace
from nni_cafenet.analysis.verification.failing_call import watch_calls


class Doubles(nn.Module):
    """Changes its input in place, then fails if it is told to."""

    fails = False

    def forward(self, x, *, bias):
        x *= 2
        if self.fails:
            raise ValueError('told to')
        return x + bias


def test_a_call_that_fails_is_repeated_with_what_it_was_given():
    module = Doubles()
    with watch_calls(module, lambda: 7) as running:
        assert module(torch.ones(2), bias=1).tolist() == [3, 3]
        assert running == []
        module.fails = True
        with pytest.raises(ValueError, match='told to'):
            module(torch.ones(2), bias=2)
    (call,) = running
    assert call.progress == 7
    module.fails = False
    assert call.repeat().tolist() == call.repeat().tolist() == [4, 4]
    assert not module._forward_hooks
    assert not module._forward_pre_hooks


class Heads(nn.Module):
    """Numbers that the operators do not show, many of which equal a width by chance."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.one = self.two = self.three = self.four = dim
        self.width = dim
        self.scale = nn.Parameter(torch.rand(dim) + 0.5)

    def forward(self, x):
        return x * self.scale.view(1, self.width, 1, 1)


class Network(nn.Module):
    """Layers that are counted, in front of a module whose attribute follows a width."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.early = nn.Sequential(*[nn.Conv2d(8 if i else 3, 8, 1) for i in range(depth)])
        self.late = nn.Sequential(nn.Conv2d(8, 12, 1), Heads(12), nn.Conv2d(12, 4, 1))

    def forward(self, x):
        return self.late(self.early(x))


def test_attributes_are_tried_on_the_failing_module_alone():
    model, calls = Network(2), {Network: 0, Heads: 0}

    def count(module, args):
        calls[type(module)] = calls.get(type(module), 0) + 1

    hook = register_module_forward_pre_hook(count)
    try:
        space = WidthSpace(model, example_input=torch.rand(1, 3, 4, 4))
    finally:
        hook.remove()
    assert {(a.module, a.name) for a in space.graph.attributes} == {('late.1', 'width')}
    assert calls[Heads] - calls[Network] > 3
