"""Gradient checkpointing inside a model: the second forward, in the backward, sees the selected slices."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torch.utils.checkpoint as torch_checkpoint
from nni.nas.evaluator.pytorch import LightningModule
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from nni_cafenet import WidthSpace
from nni_cafenet.slicing import recomputation
from nni_cafenet.slicing.selection import Selection, put
from nni_cafenet.supernet.graph_memory import GraphMemory
from nni_cafenet.supernet.min_step import MinStep, StepFunctions


def block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, groups=2), nn.BatchNorm2d(after), nn.ReLU(), nn.Dropout(0.3)
    )


class Net(nn.Module):
    def __init__(self, run) -> None:
        super().__init__()
        self.a, self.b, self.c, self.o = nn.Conv2d(3, 8, 1), block(8, 12), block(12, 12), nn.Linear(12, 4)
        self.run = run

    def forward(self, x):
        x = self.a(x)
        x = self.run(nn.Sequential(self.b, self.c), x) if self.training else self.c(self.b(x))
        return self.o(x.mean((2, 3)))


def nested(function, x):
    inner = partial(checkpoint, function[1], use_reentrant=False)
    return checkpoint(lambda y: inner(function[0](y)), x, use_reentrant=False)


KINDS = {
    'plain': partial(checkpoint, use_reentrant=False),
    'reentrant': partial(checkpoint, use_reentrant=True),
    'no random state': partial(checkpoint, use_reentrant=False, preserve_rng_state=True),
    'sequential': lambda f, x: checkpoint_sequential(f, 2, x, use_reentrant=False),
    'reentrant sequential': lambda f, x: checkpoint_sequential(f, 2, x, use_reentrant=True),
    'nested': nested,
    'twice': lambda f, x: checkpoint(f[1], checkpoint(f[0], x, use_reentrant=True), use_reentrant=False),
}
X = torch.randn(2, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def space_of(kind: str) -> WidthSpace:
    torch.manual_seed(0)
    return WidthSpace(Net(KINDS[kind]), example_input=(2, 3, 6, 6)).double().train()


def sets_of(space, seed):
    draw = torch.Generator().manual_seed(seed)
    widths = {g.label: int(torch.randint(1, g.full + 1, (), generator=draw)) for g in space.groups}
    full = space.full_widths
    return widths, {k: torch.randperm(full[k], generator=draw)[:w].sort().values for k, w in widths.items()}


def loss_of(model):
    torch.manual_seed(5)  # the same dropout
    return model(X).square().sum()


def expect(space, slim, sets, gradients):
    """Gradients of the supernet are those of the slim model at the selected entries, and zero elsewhere."""
    positions = Selection(space.graph, sets).positions
    for name, parameter in slim.named_parameters():
        whole = torch.zeros_like(dict(space.named_parameters())[name])
        put(whole, positions.get(name, (None,) * whole.dim()), parameter.grad)
        torch.testing.assert_close(gradients[name], whole, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize('kind', KINDS)
def test_gradients_and_buffers_are_those_of_the_slim_model(kind):
    space = space_of(kind)
    for seed in range(3):
        widths, sets = sets_of(space, seed)
        slim = space.slim(widths, sets)
        loss_of(slim).backward()
        space.activate(widths, sets)
        space.zero_grad()
        loss_of(space).backward()
        expect(space, slim, sets, {name: p.grad for name, p in space.named_parameters()})
        positions = Selection(space.graph, sets).positions
        for name, buffer in slim.named_buffers():
            expected = dict(space.named_buffers())[name].clone()
            put(expected, positions.get(name, (None,) * expected.dim()), buffer)
            torch.testing.assert_close(dict(space.named_buffers())[name], expected, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize('kind', ['plain', 'reentrant', 'nested'])
def test_a_graph_outlives_the_next_activation(kind):
    space = space_of(kind)
    slims, losses = [], []
    for seed in range(2):
        widths, sets = sets_of(space, seed)
        slims.append((space.slim(widths, sets), sets))
        space.activate(widths, sets)
        losses.append(loss_of(space))
    for (slim, sets), loss in zip(slims, losses):
        loss_of(slim).backward()
        space.zero_grad()
        loss.backward()
        expect(space, slim, sets, {name: p.grad for name, p in space.named_parameters()})
    assert space.full_model.b[0].out_channels == slims[1][0].b[0].out_channels


def test_torch_is_as_it_was_after_a_forward():
    before = copy.copy(vars(torch_checkpoint))
    space = space_of('plain')
    space.activate(space.uniform_widths(0.5))
    loss_of(space).backward()
    assert vars(torch_checkpoint) == before


class Recomputed(torch.autograd.Function):
    """Gradient checkpointing by hand."""

    @staticmethod
    def forward(ctx, function, x):
        ctx.function = function
        ctx.save_for_backward(x)
        return function(x)

    @staticmethod
    def backward(ctx, gradient):
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            torch.autograd.backward(ctx.function(x), gradient)
        return None, x.grad


def test_recomputation_by_hand_is_refused():
    torch.manual_seed(0)
    space = WidthSpace(Net(lambda f, x: Recomputed.apply(f, x)), example_input=(2, 3, 6, 6)).double().train()
    loss_of(space).backward()
    space.activate(space.uniform_widths(0.5))
    with pytest.raises(RuntimeError, match='Turn recomputation off in the model'):
        loss_of(space).backward()


def test_a_release_of_torch_that_cannot_be_wrapped_is_refused(monkeypatch):
    space = space_of('plain')
    space.activate(space.uniform_widths(0.5))
    monkeypatch.setattr(recomputation, '_NAMES', [])
    with pytest.raises(RuntimeError, match='Turn recomputation off in the model'):
        loss_of(space).backward()


@pytest.mark.parametrize('memory', ['fast', 'lean'])
@pytest.mark.parametrize('kind', ['plain', 'reentrant'])
def test_min_min_with_checkpointing(kind, memory):
    """The winner's gradients are those of its slim model, however many graphs were kept meanwhile."""
    space = space_of(kind)
    widths, _ = sets_of(space, 1)
    sets = [
        {k: torch.randperm(space.full_widths[k], generator=g)[:w].sort().values for k, w in widths.items()}
        for g in (torch.Generator().manual_seed(seed) for seed in range(3))
    ]
    module = LightningModule()
    module.set_model(space)
    steps = StepFunctions(
        lambda chosen: space.activate(widths, chosen),
        lambda: loss_of(space),
        lambda loss: float(loss.detach()),
        torch.device('cpu'),
    )
    before = copy.deepcopy(space)
    best, losses = MinStep(module, GraphMemory(memory))(sets, steps)
    best.output.backward()
    slim = before.slim(widths, best.channel_sets)
    assert best.loss == min(losses)
    loss_of(slim).backward()
    expect(space, slim, best.channel_sets, {name: p.grad for name, p in space.named_parameters()})
