"""Whatever the analysis runs, the model and what its code reaches are afterwards the very objects that they were."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import OrderedDict

import pytest
import torch
from torch import nn

from nni_cafenet import WidthSpace
from nni_cafenet.analysis.measured_macs import layer_macs
from nni_cafenet.analysis.model_state import untouched
from nni_cafenet.graph.example_input import ExampleInput

CACHE = {}
GRID = None


@functools.lru_cache
def grid_of(columns, device):
    return torch.arange(columns, device=device) + 0.5


def global_grid(x):
    global GRID
    if GRID is None or GRID.shape != x.shape[-1:]:
        GRID = grid(x)
    return GRID


def grid(x):
    return torch.arange(x.shape[-1]) + 0.5


@dataclasses.dataclass
class Box:
    anchors: object = None


class Slotted:
    __slots__ = ('anchors',)


class Net(nn.Module):
    store, shape = {}, None

    def __init__(self, cached) -> None:
        super().__init__()
        self.a, self.n, self.b, self.o = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 6, 1), nn.Linear(6, 2)
        self.cached = cached
        self.box, self.slotted, self.nested = Box(), Slotted(), {'a': [{}]}
        self.plain = torch.zeros(2)
        self.register_buffer('steps', torch.zeros(1))

    def forward(self, x):
        x = self.n(self.a(x)).relu()
        x = x + self.cached(self, x)
        return self.o(self.b(x).mean((2, 3)))


def attribute(net, x):
    if not hasattr(net, 'anchors'):
        net.anchors = grid(x)
    return net.anchors


def class_attribute(net, x):
    if type(net).shape != x.shape[2:]:
        type(net).shape, net.store['grid'] = x.shape[2:], grid(x)
    return net.store['grid']


def shadowed_class_attribute(net, x):
    if net.shape != x.shape[2:]:
        net.shape, net.anchors = x.shape[2:], grid(x)
    return net.anchors


def inside_dataclass(net, x):
    net.box.anchors = grid(x) if net.box.anchors is None else net.box.anchors
    return net.box.anchors


def inside_slots(net, x):
    net.slotted.anchors = grid(x)
    return net.slotted.anchors


def inside_containers(net, x):
    net.nested['a'].append(1)
    return net.nested['a'][0].setdefault('grid', grid(x))


def module_level_dict(net, x):
    return CACHE.setdefault(tuple(x.shape[2:]), grid(x))


def module_level_name(net, x):
    return global_grid(x)


def cached_function(net, x):
    return grid_of(x.shape[-1], x.device)


def new_buffer(net, x):
    if 'grid' not in net._buffers:
        net.register_buffer('grid', grid(x), persistent=False)
    return net.grid


def written_tensors(net, x):
    net.steps += 1
    net.plain += 1
    return 0


def written_weight(net, x):
    with torch.no_grad():
        net.b.weight.clamp_(-0.01, 0.01)
    return 0


def written_data(net, x):
    net.b.weight.data.clamp_(-0.01, 0.01)
    return 0


def swapped_data(net, x):
    net.b.weight.data = net.b.weight.data / 2
    return 0


def frozen(net, x):
    net.a.requires_grad_(False)
    return 0


def hooked(net, x):
    if not net.a._forward_hooks:
        net.a.register_forward_hook(lambda *_: None)
    return 0


def new_part(net, x):
    net.part = nn.Identity()
    return 0


def random_numbers(net, x):
    return torch.rand(()) * 0


def interrupted(net, x):
    attribute(net, x)
    raise KeyboardInterrupt


def failing(net, x):
    attribute(net, x)
    raise ValueError('not today')


KINDS = [
    *(
        attribute,
        class_attribute,
        shadowed_class_attribute,
        inside_dataclass,
        inside_slots,
        inside_containers,
        new_part,
    ),
    *(module_level_dict, module_level_name, cached_function, new_buffer, written_tensors, written_weight, written_data),
    *(swapped_data, frozen, hooked, random_numbers, interrupted, failing),
]


def seen(net):
    """All that may have changed, by identity where it has one, and the random numbers that come next."""
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers()), 'plain': net.plain}
    return (
        {name: id(value) for name, value in vars(net).items()},
        {name: (id(tensor), tensor.requires_grad, tensor.tolist()) for name, tensor in tensors.items()},
        {name: (id(module), module.training, len(module._forward_hooks)) for name, module in net.named_modules()},
        (Net.shape, dict(Net.store), dict(CACHE), GRID, grid_of.cache_info().currsize),
        (net.box, repr(net.nested), hasattr(net.slotted, 'anchors')),
        torch.get_rng_state().tolist(),
    )


@pytest.mark.parametrize(('cached', 'training'), zip(KINDS, itertools.cycle([False, True])))
def test_the_analysis_leaves_everything_as_it_was(cached, training):
    net = Net(cached).train(training)
    before = seen(net)
    fails = {interrupted: KeyboardInterrupt, failing: ValueError, swapped_data: ValueError}.get(cached)
    if fails is None:
        space = WidthSpace(net, example_input=(2, 3, 6, 6))
        assert space.labels == ('a', 'b')
        assert seen(net) == before
        layer_macs(net, ExampleInput.of((1, 3, 6, 6), net))
    else:
        with pytest.raises(fails):
            WidthSpace(net, example_input=(2, 3, 6, 6))
    assert seen(net) == before
    if cached not in (interrupted, failing):
        with untouched(net) as state, state.watching():
            assert type(net(torch.randn(2, 3, 6, 6))) is torch.Tensor
    assert seen(net) == before


class Made(OrderedDict):
    """As transformers' table of activations: what is taken out is made of what is held."""

    def __getitem__(self, key):
        raise RuntimeError('must not be made')


class Raising(dict):
    __getitem__ = Made.__getitem__


@pytest.mark.parametrize('kind', [Made, Raising])
def test_a_dict_that_makes_what_is_taken_out_of_it_is_noted_as_it_is(kind):
    net = nn.Linear(2, 1)
    net.table = kind(b=nn.ReLU, a=nn.GELU)
    with untouched(net):
        net.table['c'] = nn.Tanh
        del net.table['b']
    assert list(net.table.items()) == [('b', nn.ReLU), ('a', nn.GELU)]
