"""Graphs, steps of the supernet, proposals of the searchers, slim files."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn.functional import cross_entropy

from nni_cafenet import Evolution, Fixed, LocallyFree, RandomSearch, WidthSpace, load_slim, save_slim
from nni_cafenet.testing import SmallResNet

from .hashing import file_fields, hash_tensors
from .internals import budget_of, graph_fields
from .models import make

__all__ = ['BUDGETS', 'FILE_MODELS', 'SEARCHERS', 'STEP_MODELS', 'files', 'graph', 'proposals', 'steps']

STEP_MODELS = {
    'small_resnet': (SmallResNet, (1, 8, 8)),
    **{
        name: (getattr(torchvision.models, name), (3, 32, 32))
        for name in ('resnet50', 'mobilenet_v2', 'efficientnet_b0', 'densenet121')
    },
}
SEARCHERS = {
    'random': RandomSearch(60, batch=20),
    'evolution': Evolution(12, 6),
    'evolution from uniform': Evolution(12, 4, initial='uniform'),
}
BUDGETS: dict[str, Any] = {'50% of MACs': '50%', '40% of MACs and parameters': {'macs': '40%', 'params': '40%'}}

_SHARINGS = {'Fixed': Fixed(), 'LocallyFree': LocallyFree(1)}
_RATIOS = {'full': 1.0, 'half': 0.5, 'quarter': 0.25, 'random': None}


def _seed() -> None:
    random.seed(0), np.random.seed(0), torch.manual_seed(0)


def graph(name: str) -> dict[str, Any]:
    """Return the fields of the channel graph of a model, its bins, and costs of some widths."""
    factory, example = make(name)
    _seed()
    try:
        space = WidthSpace(factory(), example_input=example)
    except (ValueError, RuntimeError) as error:
        return {'error': type(error).__name__, 'reasons': str(error)}
    rng = np.random.default_rng(0)
    rows = np.array([[int(rng.choice(choices)) for choices in space.choices.values()] for _ in range(8)])
    return {
        **graph_fields(space.graph, hash_tensors),
        'bins': space.choices,
        'costs': [space.macs(rows).tolist(), space.params(rows).tolist()],
    }


def steps(name: str) -> dict[str, Any]:
    """Return hashes of three steps of a supernet by plain SGD, for every sharing and widths."""
    make_model, shape = STEP_MODELS[name]
    _seed()
    space = WidthSpace(make_model(num_classes=10), example_input=(1, *shape), verify=False)
    start = {key: value.clone() for key, value in space.state_dict().items()}
    images, labels = torch.randn(6, *shape), torch.arange(6)
    fields = {}
    for sharing in _SHARINGS:
        for widths in _RATIOS:
            space.load_state_dict(start)
            space.zero_grad(set_to_none=True)
            hashes = _three_steps(space.train(), sharing, widths, images, labels)
            fields.update({f'{what}: {sharing}, {widths}': value for what, value in hashes.items()})
    return fields


def _three_steps(space: Any, sharing: str, kind: str, images: Any, labels: Any) -> dict[str, Any]:
    _seed()
    rng, ratio = np.random.default_rng(0), _RATIOS[kind]
    optimizer = torch.optim.SGD(space.parameters(), lr=0.01, momentum=0.9)
    outputs, losses, drawn = [], [], []
    for _ in range(3):
        choices = {label: int(rng.choice(each)) for label, each in space.choices.items()}
        widths = choices if ratio is None else space.uniform_widths(ratio)
        sets = _SHARINGS[sharing].sample_all(space.groups, widths, rng)
        optimizer.zero_grad(set_to_none=True)
        space.activate(widths, sets)
        outputs.append(space(images))
        losses.append(cross_entropy(outputs[-1], labels))
        losses[-1].backward()
        optimizer.step()
        drawn += sets.values()
    named = list(space.named_parameters())
    return {
        'channel sets': hash_tensors(*drawn),
        'outputs': hash_tensors(*outputs),
        'loss': hash_tensors(*losses),
        'gradients': [[name, None if each.grad is None else hash_tensors(each.grad)] for name, each in named],
        'parameters': hash_tensors(*(each for _, each in named)),
        'buffers': [[name, hash_tensors(each)] for name, each in space.named_buffers()],
    }


def proposals(searcher: str) -> dict[str, Any]:
    """Return what a searcher proposes for a fake score, by budget and seed."""
    _seed()
    space = WidthSpace(torchvision.models.mobilenet_v2(), example_input=(1, 3, 32, 32), verify=False)
    fields = {}
    for name, spec in BUDGETS.items():
        budget = budget_of(spec, space)
        for seed in range(3):
            generator = SEARCHERS[searcher].propose(space, budget, np.random.default_rng(seed))
            batches = [next(generator)]
            while True:
                try:
                    batches.append(generator.send([_score(widths) for widths in batches[-1]]))
                except StopIteration:
                    break
            fields[f'{name}, seed {seed}'] = batches
    return fields


def _score(widths: Mapping[str, int]) -> float:
    """Return a number that looks random, and follows from the widths."""
    text = json.dumps(dict(widths), sort_keys=True).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:6], 'big') / 2**48


class _WithBuffers(nn.Module):
    """Depthwise and grouped convolutions, a buffer that is in no ``state_dict``, and one that is None."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.depthwise, self.pointwise = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 24, 1)
        self.fc = nn.Linear(24, 5)
        self.register_buffer('shift', torch.rand(16, 1, 1), persistent=False)
        self.register_buffer('unset', None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return class scores (N, 5) of pictures (N, 3, H, W)."""
        x = self.bn1(self.conv1(x)).relu() + self.shift
        return self.fc(self.pointwise(self.depthwise(x)).relu().mean((2, 3)))


FILE_MODELS = {'with_buffers': _WithBuffers, 'mobilenet_v3_small': torchvision.models.mobilenet_v3_small}


def files(name: str, work: Path) -> dict[str, Any]:
    """Return the fields of the slim files of a network, and what is loaded from them."""
    _seed()
    factory = FILE_MODELS[name]
    space = WidthSpace(factory, example_input=(1, 3, 32, 32)).eval()
    widths = space.uniform_widths(0.5)
    slim = space.slim(widths)
    facts = {'macs': space.macs(widths), 'params': space.params(widths)}
    save_slim(slim, work / 'slim', widths, example_input=space.example_input, **facts)
    loaded = load_slim(factory, work / 'slim').eval()
    with torch.no_grad():
        outputs = [model(torch.ones(1, 3, 32, 32)) for model in (slim.eval(), loaded)]
    state = {key: hash_tensors(value) for key, value in loaded.state_dict().items()}
    return {**file_fields(work / 'slim'), 'loaded': state, 'outputs': hash_tensors(*outputs)}
