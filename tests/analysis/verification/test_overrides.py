from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from nni_cafenet.analysis.verification.draw import random_channel_sets
from nni_cafenet.analysis.verification.overrides import masked
from nni_cafenet.slicing.selection import Selection, put, take

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def net() -> nn.Module:
    """Two groups; the linear layer reads 4 positions of each channel of the second."""
    return nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5), nn.Conv2d(5, 6, 1), nn.Flatten(), nn.Linear(24, 2))


@pytest.fixture(scope='module')
def graph(net, analyzed):
    return analyzed(net, (1, 3, 2, 2))


@given(seed=st.integers(0, 30), labels=st.sampled_from([('0',), ('2',), ('0', '2'), ()]))
def test_zeros_are_everywhere_but_where_channel_sets_select(net, graph, seed, labels):
    sets = random_channel_sets(graph, labels, np.random.default_rng(seed))
    change, positions = masked(graph, sets, CPU), Selection(graph, sets).positions
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        chosen, own = positions.get(name, ()), tensor.detach().clone()
        expected = own
        if any(kept is not None for kept in chosen):
            expected = torch.zeros_like(own)
            put(expected, chosen, take(own, chosen))
        found = change(name, own)
        assert torch.equal(found, expected)
        assert torch.equal(own, tensor)  # the model keeps what it has


def test_values_that_are_not_finite_become_zeros_too(graph):
    change = masked(graph, {'0': np.array([0, 4])}, CPU)
    values = torch.tensor([1.0, torch.nan, torch.inf, 4.0, torch.nan])
    torch.testing.assert_close(change('0.bias', values), torch.tensor([1.0, 0.0, 0.0, 0.0, torch.nan]), equal_nan=True)


def test_constants_that_share_memory_get_memory_of_their_own(graph):
    expanded = torch.ones(1).expand(5)
    assert masked(graph, {'0': np.array([1, 2])}, CPU)('0.bias', expanded).tolist() == [0, 1, 1, 0, 0]
    assert expanded.tolist() == [1] * 5
