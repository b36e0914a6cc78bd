"""Fixtures for the tests of rules."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import WidthSpace

PICTURE = (1, 3, 6, 6)


@pytest.fixture
def groups(analyzed, verified, wired, caplog):
    """``groups(shape, wiring, a=...)``: the graph of a tiny network that real forwards and torch's counter confirm."""

    def run(example, wiring, **layers):
        model = wired(wiring, **layers)
        graph = analyzed(model, example)
        with caplog.at_level(logging.WARNING, 'nni_cafenet'):
            checked = verified(model, example)
        assert checked.labels == graph.labels
        assert not [record for record in caplog.records if record.name.startswith('nni_cafenet')]
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            model.eval()(torch.randn(example))
        assert int(graph.cost.macs_of(graph.full_widths[None])[0]) * example[0] == counter.get_total_flops() / 2
        return graph

    return run


@pytest.fixture
def space(wired, draw, caplog):
    """``space(wiring, a=...)``: the space of a tiny network, exact at a random channel set, made without a warning."""

    def make(wiring, example=PICTURE, **layers):
        torch.manual_seed(0)
        made = WidthSpace(wired(wiring, **layers), example_input=example).double()
        assert not [record for record in caplog.records if record.name.startswith('nni_cafenet')]
        widths, sets = draw(made, 1)
        made.activate(widths, sets)
        x = torch.randn(example, dtype=torch.float64)
        torch.testing.assert_close(made(x), made.slim(widths, sets)(x), rtol=0, atol=1e-12)
        return made

    return make


@pytest.fixture
def widths_of(space):
    """``widths_of(function, channels)``: the widths of a network around a function, as ``space`` makes it."""

    def make(function, channels=4, **layers):
        torch.manual_seed(0)
        around = {'a': nn.Conv2d(3, 4, 1), 'b': nn.Conv2d(channels, 5, 1), 'c': nn.Conv2d(5, 2, 1)}
        made = space(lambda net, x: net.c(net.b(function(net, net.a(x)))), **around, **layers)
        return dict(made.full_widths)

    return make
