"""What is promised of every space (docs/contracts.md), as checks by name: same outputs, exact costs, same order."""

from __future__ import annotations

import contextlib
import copy

import numpy as np
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.flop_counter import FlopCounterMode


def draw(space, seed: int, kind: str = 'random'):
    """Return widths and random channel sets of a space (torch tensors)."""
    rng = np.random.default_rng(seed)
    widths = {
        'one': lambda: dict.fromkeys(space.labels, 1),
        'smallest': lambda: space.smallest_widths,
        'largest': lambda: space.full_widths,
        'random': lambda: {label: int(rng.integers(1, full + 1)) for label, full in space.full_widths.items()},
    }[kind]()
    sets = {
        label: torch.from_numpy(np.sort(rng.choice(space.full_widths[label], width, replace=False)))
        for label, width in widths.items()
    }
    return widths, sets


def same_outputs(space, widths, sets, x: torch.Tensor) -> nn.Module:
    """The supernet on channel sets computes, in both modes, what the slim model does, which is returned."""
    for training in (False, True):
        slim = space.train(training).slim(widths, sets)
        space.activate(widths, sets)
        with torch.no_grad():
            torch.testing.assert_close(space(x), slim(x), rtol=1e-9, atol=1e-9)
    return slim


def exact_costs(space, widths, slim: nn.Module, x: torch.Tensor) -> None:
    """MACs and parameters are those that torch counts in the slim model."""
    with FlopCounterMode(display=False) as counter:
        slim(x)
    assert space.macs(widths) * 2 == counter.get_total_flops()
    assert space.params(widths) == sum(parameter.numel() for parameter in slim.parameters())


def exact(space, x: torch.Tensor):
    """Same outputs and exact costs at some widths, in float64; the space is returned."""
    for seed, kind in enumerate(('one', 'smallest', 'largest', 'random', 'random')):
        widths, sets = draw(space, seed, kind)
        exact_costs(space, widths, same_outputs(space, widths, sets, x), x[:1])
    return space


def same_order(space, *inputs) -> None:
    """Order the channels of a space in float64, and check all that this promises.

    The function in both modes and the running statistics are the same, a prefix is the slim model of the channels that
    come first, and undone everything is as it was, to the last bit.
    """
    from nni_cafenet import order_channels, permute_channels

    model = space.full_model
    original = copy.deepcopy({**dict(model.named_parameters()), **dict(model.named_buffers())})
    rng = np.random.default_rng(0)
    ranks = {label: rng.random(width) for label, width in space.full_widths.items()}
    half = {group.label: max(group.least_width, group.width // 2) for group in space.graph.groups}
    best = {label: np.sort(np.argsort(-ranks[label])[:width]) for label, width in half.items()}
    ordered = {group.label for group in space.graph.groups if group.ordered}
    best.update((label, np.arange(half[label])) for label in ordered)
    with without_dropout(model):
        evaluated = _run(space.eval(), inputs)
        chosen = _run(space.slim(half, best), inputs)
        trained = _run(space.train(), inputs)
        statistics = copy.deepcopy(dict(model.named_buffers()))
        _restore(model, original)
        order = order_channels(space, ranks)
        assert set(order.kept) == {label for label in ordered if (np.diff(ranks[label]) > 0).any()}
        _agree(_run(space.eval(), inputs), evaluated)
        _agree(_run(space.slim(half), inputs), chosen)
        _agree(_run(space.train(), inputs), trained)
    permute_channels(space.eval(), order.inverse())
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, statistics[name], rtol=1e-9, atol=1e-9)
    _restore(model, original)
    now = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert all(torch.equal(now[name], tensor) for name, tensor in original.items())


@contextlib.contextmanager
def without_dropout(model: nn.Module):
    """Dropout draws for places, not for channels: in another order it is another draw."""
    layers = [module for module in model.modules() if isinstance(module, (_DropoutNd, nn.MultiheadAttention))]
    names = ['p' if isinstance(layer, _DropoutNd) else 'dropout' for layer in layers]
    rates = [getattr(layer, name) for layer, name in zip(layers, names)]
    for layer, name in zip(layers, names):
        setattr(layer, name, 0.0)
    yield
    for layer, name, rate in zip(layers, names, rates):
        setattr(layer, name, rate)


def _run(model, inputs):
    torch.manual_seed(0)  # the same paths of stochastic depth
    with torch.no_grad():
        leaves = torch.utils._pytree.tree_leaves(model(*inputs))
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def _agree(left, right):
    assert [a.shape for a in left] == [b.shape for b in right]
    for a, b in zip(left, right):
        assert float((a - b).abs().max()) <= 1e-9 * float(b.abs().max())


def _restore(model, buffers):
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
