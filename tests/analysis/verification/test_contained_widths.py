"""Numbers in dicts, dataclasses, tuples and configurations of a module follow widths, in copies of its containers."""

from __future__ import annotations

import copy
import dataclasses
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from helpers import contracts
from torch import nn

from nni_cafenet import WidthSpace, load_slim

PICTURE = (2, 3, 4, 4)


class Shape(NamedTuple):
    dim: int
    side: int
    name: str


@dataclasses.dataclass(frozen=True)
class Settings:
    dim: int
    dropout: float = 0.0
    stages: tuple[int, ...] = (1, 2)


@dataclasses.dataclass
class Nested:
    attention: dict
    depth: int = 3


class Configuration:
    """As Hugging Face has it: an object with plain attributes, some of which are never read."""

    def __init__(self, dim):
        self.hidden, self.heads, self.layers, self.name, self.labels = dim, 2, 12, 'x', {0: 'a', 1: 'b'}
        self.max_positions = self.other = dim


WAYS = {
    'dict': (lambda dim: {'heads': 2, 'dim': dim}, lambda c: c['dim']),
    'dict of numbers': (lambda dim: {1: dim, 2: 4}, lambda c: c[1]),
    'mixed tuple': (lambda dim: (dim, 7, 'x'), lambda c: c[0]),
    'mixed list': (lambda dim: ['x', dim, None], lambda c: c[1]),
    'named tuple': (lambda dim: Shape(dim, 7, 'x'), lambda c: c.dim),
    'dataclass': (Settings, lambda c: c.dim),
    'dict in a dataclass': (lambda dim: Nested({'dim': dim}), lambda c: c.attention['dim']),
    'dataclass in a dict': (lambda dim: {'block': [Settings(dim), 'x']}, lambda c: c['block'][0].dim),
    'list in a dict': (lambda dim: {'shape': [dim, 1, 1]}, lambda c: c['shape'][0]),
    'tuple in a tuple': (lambda dim: ('x', (dim, 1)), lambda c: c[1][0]),
    'namespace': (lambda dim: SimpleNamespace(dim=dim, rate=0.1), lambda c: c.dim),
    'configuration': (Configuration, lambda c: c.hidden),
}


class Reads(nn.Module):
    """Views a gain by a number that it keeps in a container."""

    def __init__(self, cfg, read, dim):
        super().__init__()
        self.cfg, self.read = cfg, read
        self.gain = nn.Parameter(torch.rand(dim) + 0.5)

    def forward(self, x):
        return x * self.gain.view(self.read(self.cfg), 1, 1)


def network(kind, dim=8):
    torch.manual_seed(0)
    make, read = WAYS[kind]
    return nn.Sequential(nn.Conv2d(3, dim, 1), Reads(make(dim), read, dim), nn.Conv2d(dim, 2, 3, padding=1))


@pytest.mark.parametrize('kind', WAYS)
def test_contained_numbers_follow(kind, tmp_path, caplog):
    model, read = network(kind), WAYS[kind][1]
    own, before = model[1].cfg, copy.deepcopy(model[1].cfg)
    same = repr(before) if kind == 'configuration' else None
    space = WidthSpace(model, example_input=PICTURE).double()
    assert not caplog.records
    assert dict(space.full_widths) == {'0': 8}
    assert model[1].cfg is own
    contracts.exact(space, torch.randn(PICTURE, dtype=torch.float64))
    slim = space.slim({'0': 3})
    assert read(slim[1].cfg) == 3
    space.activate({'0': 5})
    assert read(model[1].cfg) == 5
    assert read(own) == 8
    space.activate(dict(space.full_widths))
    assert model[1].cfg is own
    assert same is not None or own == before
    saved = space.save_slim(tmp_path, {'0': 3}).float()
    loaded = load_slim(lambda: network(kind), tmp_path)
    assert read(loaded[1].cfg) == 3
    assert type(loaded[1].cfg) is type(own)
    x = torch.randn(PICTURE)
    torch.testing.assert_close(saved(x), loaded.float()(x))


class Part(nn.Module):
    """Two layers of attention heads by hand, after one configuration of the user that all parts share."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.q, self.k, self.v = (nn.Linear(config['dim'], config['heads'] * config['head']) for _ in range(3))
        self.out = nn.Linear(config['heads'] * config['head'], config['dim'])

    def forward(self, x):
        n, rows, _ = x.shape
        shape = (n, rows, self.config['heads'], self.config['head'])
        q, k, v = (layer(x).view(shape).transpose(1, 2) for layer in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, rows, -1)
        return x + self.out(y).view(n, rows, self.config['dim'])


def test_a_shared_configuration_is_never_changed():
    config = {'dim': 12, 'heads': 2, 'head': 5, 'history': [1, 2]}
    before = copy.deepcopy(config)
    model = nn.Sequential(nn.Linear(6, 12), Part(config), Part(config), nn.Linear(12, 2)).double()
    space = WidthSpace(model, example_input=torch.randn(2, 4, 6, dtype=torch.float64))
    assert space.full_widths == {'0': 12, '1.q': 2, '2.q': 2}
    widths = {'0': 7, '1.q': 1, '2.q': 2}
    space.activate(widths)
    slim = space.slim(widths)
    x = torch.randn(2, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(space(x), slim(x))
    assert slim[1].config == {'dim': 7, 'heads': 1, 'head': 5, 'history': [1, 2]}
    slim[1].config['history'].append(3)
    assert config == before
    assert model[1].config['history'] is config['history']
    space.activate(dict(space.full_widths))
    assert model[1].config is model[2].config is config


def test_a_container_that_the_user_replaces_is_the_new_original():
    model = network('dict')
    space = WidthSpace(model, example_input=PICTURE)
    space.activate({'0': 3})
    model[1].cfg = mine = {'heads': 3, 'dim': 8}
    space.activate({'0': 4})
    assert model[1].cfg == {'heads': 3, 'dim': 4}
    space.activate(dict(space.full_widths))
    assert model[1].cfg is mine


def test_other_containers_are_refused_when_a_slim_model_is_loaded(tmp_path):
    space = WidthSpace(network('dict'), example_input=PICTURE)
    space.save_slim(tmp_path, {'0': 3})
    smaller = network('dict')
    smaller[1].cfg['heads'] = 1  # the files have 2
    with pytest.raises(ValueError, match="1.cfg\\['heads'\\] is 2 in the files and 1 in the model"):
        load_slim(smaller, tmp_path)
    text = network('dict')
    text[1].cfg['dim'] = '8'
    with pytest.raises(Exception, match='view|shape'):  # it is left alone, and the forward that checks the model fails
        load_slim(text, tmp_path)


def test_counters_in_containers_are_left_alone():
    class Counted(Reads):
        def forward(self, x):
            self.cfg['calls'] += 1
            return super().forward(x)

    model = nn.Sequential(
        nn.Conv2d(3, 8, 1), Counted({'calls': 0, 'dim': 8}, lambda c: c['dim'], 8), nn.Conv2d(8, 2, 1)
    )
    space = WidthSpace(model, example_input=PICTURE)
    assert model[1].cfg == {'calls': 0, 'dim': 8}
    assert dict(space.full_widths) == {'0': 8}
    slim = space.slim({'0': 3})
    slim(torch.randn(PICTURE))
    assert slim[1].cfg == {'calls': 1, 'dim': 3}
