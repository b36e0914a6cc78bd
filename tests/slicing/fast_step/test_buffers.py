from __future__ import annotations

import torch
from torch import nn

from nni_cafenet.slicing.fast_step.buffers import BufferCopies, Buffers
from nni_cafenet.slicing.selection import Selection


def network(net, x):
    net.n.calls.add_(1)
    return net.b(net.n(net.a(x)) * net.n.window)


def known(wired, analyzed):
    model = wired(network, a=nn.Conv2d(3, 4, 1), n=nn.BatchNorm2d(4), b=nn.Conv2d(4, 2, 1))
    model.n.register_buffer('window', torch.ones(1, 4, 2, 2))
    model.n.register_buffer('calls', torch.zeros((), dtype=torch.int64))
    model.n.register_buffer('constant', torch.ones(1).expand(3))
    return model, analyzed(model, (2, 3, 2, 2))


def test_copies_of_all_kinds_and_their_way_back(wired, analyzed):
    model, graph = known(wired, analyzed)
    model.n.running_mean.copy_(torch.arange(4.0))
    buffers = dict(model.named_buffers())
    copies = BufferCopies(Buffers(graph, buffers), buffers, Selection(graph, {'a': [0, 3]}))
    assert copies.tensors.keys() == buffers.keys()
    assert copies.tensors['n.running_mean'].tolist() == [0, 3]
    assert copies.tensors['n.window'].shape == (1, 2, 2, 2)
    changed = {name: copy + 1 for name, copy in copies.tensors.items()}
    copies.write_back(changed)
    assert model.n.running_mean.tolist() == [1, 1, 2, 4]
    assert model.n.window[0, :, 0, 0].tolist() == [2, 1, 1, 2]
    assert (model.n.calls, model.n.num_batches_tracked) == (1, 1)
    assert model.n.constant.tolist() == [1, 1, 1]  # expanded: nothing can be written into it


def test_copies_count_their_versions_by_themselves(wired, analyzed):
    model, graph = known(wired, analyzed)
    buffers = dict(model.named_buffers())
    made = BufferCopies(Buffers(graph, buffers), buffers, Selection(graph, {'a': [0, 3]})).tensors
    made['n.calls'].add_(1)
    made['n.running_var'].add_(1)
    assert (made['n.num_batches_tracked']._version, made['n.running_mean']._version) == (0, 0)
    assert not model.n.calls
