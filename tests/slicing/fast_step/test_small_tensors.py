from __future__ import annotations

import torch
from torch import nn

from nni_cafenet.slicing.fast_step.small_tensors import SmallTensors
from nni_cafenet.slicing.selection import Selection


def test_vectors_by_hand(wired, analyzed):
    model = wired(
        lambda net, x: net.b(net.n(net.a(x))), a=nn.Conv2d(3, 4, 1), n=nn.BatchNorm2d(4), b=nn.Conv2d(4, 2, 1)
    )
    graph = analyzed(model, (1, 3, 2, 2))
    names = ['a.bias', 'n.weight']
    vectors = SmallTensors(graph, names)
    tensors = dict(model.named_parameters())
    chosen = vectors.selected(Selection(graph, {'a': [0, 3]}))
    parts = chosen.read([tensors[name] for name in names])
    assert [part.tolist() for part in parts] == [tensors[name][[0, 3]].tolist() for name in names]
    full = chosen.scatter([torch.tensor([1.0, 2.0]), None])
    assert full[0].tolist() == [1, 0, 0, 2]
    assert full[1] is None
    assert chosen.scatter([None, None]) == [None, None]
    targets = [torch.zeros(4), torch.ones(4)]
    chosen.write(targets, [torch.tensor([5.0, 6.0]), torch.tensor([7.0, 8.0])])
    assert [target.tolist() for target in targets] == [[5, 0, 0, 6], [7, 1, 1, 8]]


def test_parts_count_their_versions_by_themselves(wired, analyzed):
    model = wired(
        lambda net, x: net.b(net.n(net.a(x))), a=nn.Conv2d(3, 4, 1), n=nn.BatchNorm2d(4), b=nn.Conv2d(4, 2, 1)
    )
    graph = analyzed(model, (1, 3, 2, 2))
    first, second = (
        SmallTensors(graph, ['a.bias', 'n.weight']).selected(Selection(graph, {'a': [1]})).read([torch.ones(4)] * 2)
    )
    first.add_(1)
    assert (first._version, second._version) == (1, 0)


def test_filters_are_joined_by_their_first_dimension(wired, analyzed):
    model = wired(
        lambda net, x: net.b(net.e(net.d(net.a(x)))),
        a=nn.Conv2d(3, 4, 1),
        d=nn.Conv2d(4, 4, 3, groups=4),
        e=nn.Conv2d(4, 4, 3, groups=4),
        b=nn.Conv2d(4, 2, 1),
    )
    graph = analyzed(model, (1, 3, 6, 6))
    names = ['d.weight', 'e.weight']
    rows = SmallTensors(graph, names).selected(Selection(graph, {'a': [1, 2]}))
    tensors = [model.d.weight.detach(), model.e.weight.detach()]
    parts = rows.read(tensors)
    assert all(torch.equal(part, tensor[1:3]) for part, tensor in zip(parts, tensors))
    (scatter, _) = rows.scatter(parts)
    assert torch.equal(scatter[1:3], tensors[0][1:3])
    assert not scatter[[0, 3]].any()
