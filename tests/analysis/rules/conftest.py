"""Fixtures for the tests of rules."""

from __future__ import annotations

import logging

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode


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
