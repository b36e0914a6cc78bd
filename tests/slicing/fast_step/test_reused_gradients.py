"""Gradients that are kept, against those of autograd's own slicing (`Selection.slices`), the slow path."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from torch import nn

from nni_cafenet.slicing.fast_step import autograd
from nni_cafenet.slicing.fast_step.autograd import blocks_of
from nni_cafenet.slicing.fast_step.reused_gradients import ReusedGradients
from nni_cafenet.slicing.index_runs import IndexRuns
from nni_cafenet.slicing.selection import Selection


def network(net, x):
    return net.c(net.f(net.n(net.b(net.n1(net.a(x))))).mean((2, 3)))


@pytest.fixture(params=[0, 1 << 14], ids=['all large', 'short ones joined'])
def known(wired, analyzed, monkeypatch, request):
    """A model with every kind of parameter, and its graph, in chunks of a few."""
    monkeypatch.setattr(autograd, '_SMALL_SIZE', request.param)
    monkeypatch.setattr(autograd, '_BLOCK_SIZE', 64)
    model = wired(
        network,
        a=nn.Conv2d(3, 8, 1),
        n1=nn.BatchNorm2d(8),
        b=nn.Conv2d(8, 8, 1, groups=8),
        n=nn.GroupNorm(8, 8),
        f=nn.Conv2d(8, 6, 3, padding=1),
        c=nn.Linear(6, 2),
    ).double()
    return model, analyzed(model, (2, 3, 4, 4))


class Slices:
    """The parts of a model's parameters, step after step."""

    def __init__(self, model, graph):
        self.model = model
        self.blocks = blocks_of(graph, dict(model.named_parameters()))

    def __call__(self, selection):
        parameters = dict(self.model.named_parameters())
        slices = {}
        for block in self.blocks:
            slices.update(block.slices(parameters, selection))
        return {name: part for name, part in slices.items() if name in selection.axes}


def loss_of(slices, seed):
    """A loss whose gradient is other values for each part."""
    generator = torch.Generator().manual_seed(seed)
    return sum(
        (part.square() * torch.randn(part.shape, generator=generator, dtype=part.dtype)).sum()
        for part in slices.values()
    )


def gradients_of(model):
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def same(left, right):
    assert left.keys() == right.keys()
    for name, gradient in left.items():
        other = right[name]
        assert (gradient is None) == (other is None), name
        if gradient is not None:
            assert torch.equal(gradient, other), name


CHANNELS = st.sets(st.integers(0, 7), min_size=1).map(sorted)
AFTER = {
    'set to None': lambda model: model.zero_grad(set_to_none=True),
    'set to zero': lambda model: model.zero_grad(set_to_none=False),
    'accumulated': lambda model: None,
    'clipped': lambda model: (nn.utils.clip_grad_norm_(model.parameters(), 0.1), model.zero_grad()),
    'decayed in place': lambda model: in_place(model, lambda p: p.grad.add_(p.detach(), alpha=0.1)),
    'decayed through data': lambda model: in_place(model, lambda p: p.grad.data.add_(p.data, alpha=0.1)),
    'centered through data': lambda model: in_place(model, lambda p: p.grad.data.sub_(p.grad.data.mean() + 1)),
    'replaced': lambda model: in_place(model, lambda p: setattr(p, 'grad', torch.ones_like(p))),
}


def in_place(model, change):
    for parameter in model.parameters():
        if parameter.grad is not None:
            change(parameter)
    model.zero_grad(set_to_none=True)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.tuples(CHANNELS, CHANNELS, st.sampled_from(sorted(AFTER))), min_size=2, max_size=5))
def test_gradients_are_those_of_the_slow_path_whatever_is_done_with_them(known, steps):
    model, graph = known
    reference = copy.deepcopy(model)
    model.zero_grad()
    slices_of, held = Slices(model, graph), []
    for seed, (first, second, after) in enumerate(steps):
        selection = Selection(graph, {'a': first, 'f': [channel for channel in second if channel < 6] or [0]})
        slices = slices_of(selection)
        expected = selection.slices(reference)
        assert slices.keys() == expected.keys() - {name for name, _ in model.named_buffers()}
        expected = {name: expected[name] for name in slices}
        for name, part in slices.items():
            assert torch.equal(part, expected[name]), name
        if slices:  # not where everything is selected
            loss_of(slices, seed).backward()
            loss_of(expected, seed).backward()
        same(gradients_of(model), gradients_of(reference))
        for name, gradient in gradients_of(model).items():
            if after == 'set to None' and gradient is not None:
                held.append((gradient, gradient.clone(), name))  # a user who compares the gradients of two steps
        AFTER[after](model)
        AFTER[after](reference)
    for gradient, values, name in held:
        assert torch.equal(gradient, values), name


def test_memory_is_used_again_once_nobody_holds_it(known):
    model, graph = known
    slices_of = Slices(model, graph)

    def address() -> int:
        loss_of(slices_of(Selection(graph, {'a': [0, 2, 3]})), 0).backward()
        return model.f.weight.grad.data_ptr()

    first = address()
    model.zero_grad()
    assert address() == first
    held = model.f.weight.grad
    model.zero_grad()
    second = address()
    assert second != first
    assert held.any()
    held = model.f.weight.grad  # a user who always holds the gradient of the last step
    model.zero_grad()
    assert address() == first
    model.zero_grad()
    assert held.any()


def test_gradients_without_accumulation(known):
    model, graph = known
    reference = copy.deepcopy(model)
    selection = Selection(graph, {'a': [1, 2, 5]})
    slices_of = Slices(model, graph)
    for seed in range(2):
        ours = torch.autograd.grad(loss_of(slices_of(selection), seed), model.f.weight)
        slices = {name: part for name, part in selection.slices(reference).items() if 'running' not in name}
        assert torch.equal(ours[0], torch.autograd.grad(loss_of(slices, seed), reference.f.weight)[0])
    assert model.f.weight.grad is None


def test_gradients_of_gradients(known):
    model, graph = known
    reference = copy.deepcopy(model)
    selection = Selection(graph, {'a': [1, 2, 5]})
    results = []
    for net, slices in (
        (model, Slices(model, graph)(selection)),
        (reference, selection.slices(reference)),
    ):
        slices = {name: part for name, part in slices.items() if 'running' not in name}
        loss = sum(part.pow(3).sum() for part in slices.values())
        first = torch.autograd.grad(loss, [net.f.weight, net.a.bias], create_graph=True)
        sum(gradient.square().sum() for gradient in first).backward()
        results.append((net.f.weight.grad, net.a.bias.grad))
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_frozen_parameters_take_no_gradients(known):
    model, graph = known
    model.f.weight.requires_grad_(False)
    model.a.bias.requires_grad_(False)
    slices = Slices(model, graph)(Selection(graph, {'a': [1, 2]}))
    assert not slices['f.weight'].requires_grad
    assert not slices['a.bias'].requires_grad
    loss_of(slices, 0).backward()
    assert model.f.weight.grad is None
    assert model.a.bias.grad is None
    assert model.a.weight.grad is not None


def test_without_gradients_parts_have_none(known):
    model, graph = known
    with torch.no_grad():
        slices = Slices(model, graph)(Selection(graph, {'a': [1, 2]}))
    assert not any(part.requires_grad for part in slices.values())


def test_parts_that_take_no_part_get_no_gradient(known):
    model, graph = known
    slices = Slices(model, graph)(Selection(graph, {'a': [1, 2]}))
    slices['f.weight'].sum().backward()
    assert model.f.weight.grad is not None
    assert model.a.weight.grad is None
    assert model.a.bias.grad is None


def test_hooks_of_parameters_see_the_whole_gradient(known):
    model, graph = known
    seen = []
    model.f.weight.register_hook(lambda gradient: seen.append(gradient.shape))
    loss_of(Slices(model, graph)(Selection(graph, {'a': [1, 2]})), 0).backward()
    assert seen == [model.f.weight.shape]


def test_gradients_in_one_piece_of_memory_by_hand():
    double = {'dtype': torch.float64}
    reused = ReusedGradients([torch.empty(3, 2, **double), torch.empty(2, 2, **double).T])
    rows, column = (IndexRuns([1], [2]), None), (None, IndexRuns([0], [1]))
    part, other = torch.ones(2, 2, **double), torch.full((2, 1), 5.0, **double)
    first, second = reused.scatter({0: rows, 1: column}, [part, other])
    assert first.tolist() == [[0, 0], [1, 1], [1, 1]]
    assert second.tolist() == [[5, 0], [5, 0]]
    assert (second.stride(), second.dtype) == ((1, 2), torch.float64)
    address = first.data_ptr()
    del first, second
    (second,) = reused.scatter({1: (IndexRuns([1], [1]), None)}, [torch.full((1, 2), 7.0, **double)])
    assert second.tolist() == [[0, 0], [7, 7]]
    del second
    (first,) = reused.scatter({0: (IndexRuns([0, 2], [1, 1]), None)}, [part])
    assert first.tolist() == [[1, 1], [0, 0], [1, 1]]
    assert first.data_ptr() == address


@pytest.mark.parametrize('channels', [[0, 1, 2], [0, 1, 4]], ids=['one block', 'two blocks'])
def test_memory_of_parts_is_used_again_once_their_graph_is_gone(known, channels, monkeypatch):
    monkeypatch.setattr(
        'nni_cafenet.slicing.fast_step.blocks._SMALL', 0
    )  # else two blocks of so few elements are gathered
    model, graph = known
    slices_of, selection = Slices(model, graph), Selection(graph, {'a': channels})

    def weight():
        return slices_of(selection)['f.weight']

    first = weight()
    values = first.detach().clone()
    second, third = weight(), weight()  # as min-min training does: other graphs beside the first
    assert len({first.data_ptr(), second.data_ptr(), third.data_ptr()}) == 3
    assert torch.equal(first, values)
    left = {second.data_ptr(), third.data_ptr()}  # those of two graphs are kept
    del first, second, third
    held = torch.empty_like(values), torch.empty_like(values)  # what the allocator would hand out by itself
    assert {weight().data_ptr() for _ in range(3)} <= left - {each.data_ptr() for each in held}
