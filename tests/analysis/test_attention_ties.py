"""Attention whose width the code takes from its input, from a number of a module, or from nowhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from nni_cafenet.analysis.analyze import analyze_model
from nni_cafenet.graph.attributes import Attribute
from nni_cafenet.graph.example_input import ExampleInput


class Attention(nn.Module):
    """Two heads over a stream of 12 channels; ``how`` says where the code takes the widths from."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.heads, self.head_width = 2, 6
        self.qkv, self.out = nn.Linear(12, 36), nn.Linear(12, 12)

    def forward(self, x):
        rows, channels = x.shape[1:]
        width = {'input': channels // 2, 'number': self.head_width, 'constant': 6, 'own': -1}[self.how]
        q, k, v = self.qkv(x).view(1, rows, 3, 2, width).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        if self.how == 'own':
            return x + self.out(y.flatten(2))
        return x + self.out(y.reshape(1, rows, 12 if self.how == 'constant' else channels))


def graph_of(how: str):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 12), nn.LayerNorm(12), Attention(how), nn.LayerNorm(12), nn.Linear(12, 2))
    return analyze_model(net, ExampleInput.of((1, 5, 3), net))


def test_attention_as_wide_as_its_input():
    graph = graph_of('input')
    # The inputs of out stand where its outputs stand in the stream: 2 heads of 6, and the same of both are kept.
    assert {group.label: group.width for group in graph.groups} == {'0': 6}
    stream = graph.layout_of('0.weight', 0)
    assert [(s.positions, s.outer) for s in stream] == [(12, 2)]


def test_a_constant_width_leaves_the_stream_free(caplog):
    graph = graph_of('constant')
    assert {group.label: group.width for group in graph.groups} == {'0': 12}
    warned = [record.args[0] for record in caplog.records if 'keep their width' in record.msg]
    assert warned == ['2.qkv']


def test_a_width_of_its_own_needs_no_tie():
    assert {group.label: group.width for group in graph_of('own').groups} == {'0': 12, '2.qkv': 6}


def test_a_number_of_the_module_follows():
    graph = graph_of('number')
    assert Attribute('2', 'head_width', '2.out.weight', 1, 2) in graph.attributes
    assert not [attribute for attribute in graph.attributes if attribute.name == 'heads']
