"""The other tools' rows, on networks small enough to say by hand what they should be; skipped where not installed."""

import pytest
import torch
from torch import nn

from zoo.models import Case


class Small(Case):
    """A case whose model is given by its name."""

    @property
    def classes(self):
        return 2

    def make(self):
        torch.manual_seed(0)
        middle = {'plain': nn.ReLU(), 'mixing': nn.GroupNorm(1, 64), 'training': _FixedInTraining()}[self.name]
        return nn.Sequential(nn.Conv2d(3, 64, 1), middle, nn.Conv2d(64, 2, 1)).eval()


class _FixedInTraining(nn.Module):
    def forward(self, x):
        return x + torch.zeros(64, 1, 1) if self.training else x


def case(name):
    return Small(name, 'classification', (3, 4, 4))


FULL = 16 * (3 * 64 + 64 * 2)


def test_torch_pruning_halves_what_is_between_input_and_last_layer():
    peer = pytest.importorskip('zoo.with_torch_pruning', exc_type=ImportError)
    row = peer.measure(case('plain'), 60)
    assert (row['groups'], row['macs'], row['macs_at_half']) == (1, FULL, 0.5)
    assert row['verdict'] == 'exact'
    assert row['error'] < 1e-12


def test_torch_pruning_where_zeros_tell_nothing():
    peer = pytest.importorskip('zoo.with_torch_pruning', exc_type=ImportError)
    row = peer.measure(case('mixing'), 60)
    assert (row['verdict'], row['macs_at_half']) == ('runs', 0.5)


def test_torch_pruning_of_a_model_that_is_another_in_training():
    peer = pytest.importorskip('zoo.with_torch_pruning', exc_type=ImportError)
    row = peer.measure(case('training'), 60)
    assert row['verdict'] == 'eval only'
    assert row['why'].startswith('RuntimeError: The size of tensor')


def test_torch_pruning_that_removes_the_wrong_channels(monkeypatch):
    peer = pytest.importorskip('zoo.with_torch_pruning', exc_type=ImportError)
    right = peer._kept_positions
    monkeypatch.setattr(peer, '_kept_positions', lambda *a: {**right(*a), '0.bias': torch.arange(32)})
    row = peer.measure(case('plain'), 60)
    assert (row['verdict'], row['why']) == ('wrong', 'outputs differ from those of the full model with zeros')


def test_modelopt_has_multiples_of_32_and_of_1():
    peer = pytest.importorskip('zoo.with_modelopt', exc_type=ImportError)
    row = peer.measure(case('plain'), 60)
    assert (row['groups'], row['choices'], row['macs']) == (1, 2, FULL)
    assert (row['macs_at_smallest'], row['macs_at_half'], row['macs_at_half_of_finest']) == (0.5, 0.5, 0.5)
    assert (row['verdict'], row['error']) == ('exact', 0.0)


def test_modelopt_of_a_model_that_is_another_in_training():
    peer = pytest.importorskip('zoo.with_modelopt', exc_type=ImportError)
    row = peer.measure(case('training'), 60)
    assert row['verdict'] == 'eval only'
    assert row['why'].startswith('RuntimeError: The size of tensor')
