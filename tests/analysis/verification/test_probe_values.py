from __future__ import annotations

import pytest
import torch
from torch import nn

from nni_cafenet.analysis.verification.probe_values import check_device, probe_inputs, probe_tensors
from nni_cafenet.graph.example_input import ExampleInput

CPU, META = torch.device('cpu'), torch.device('meta')


def test_only_what_says_nothing_gets_other_values():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.BatchNorm1d(2))
    model.register_buffer('mask', torch.full((2, 2), -torch.inf))
    with torch.no_grad():
        model[0].weight[0, 0] = float('nan')
        model[1].weight.zero_()
        model[2].running_mean[0] = float('nan')
    found = probe_tensors(model, CPU)
    assert sorted(found) == ['0.weight', '1.weight', '2.bias', '2.running_mean']
    assert all(bool(tensor.isfinite().all()) and bool(tensor.all()) for tensor in found.values())
    assert found['1.weight'].shape == (2, 4)
    assert not model[1].weight.any()


def test_a_model_without_values_gets_all_of_them():
    with META:
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).bfloat16()
    assert check_device(model) == CPU
    found = probe_tensors(model, CPU)
    assert list(found) == list(model.state_dict())
    assert all(
        found[key].dtype == tensor.dtype and not found[key].is_meta for key, tensor in model.state_dict().items()
    )
    assert float(found['1.running_var'].min()) >= 0.5
    assert int(found['1.num_batches_tracked']) == 0


def test_a_large_model_stays_where_it_is():
    with META:
        model = nn.Linear(2**15, 2**14)
    assert check_device(model) == META
    assert probe_tensors(model, META) == {}


def test_values_for_inputs():
    x, index = torch.empty(2, 3, device='meta', dtype=torch.float64), torch.empty(2, dtype=torch.long, device='meta')
    own = torch.ones(2)
    filled = probe_inputs(ExampleInput((x, index, own), {}), CPU)
    assert filled.args[0].dtype == torch.float64
    assert float(filled.args[0].std()) > 0
    assert filled.args[1].tolist() == [0, 0]
    assert torch.equal(filled.args[2], own)
    assert all(tensor.is_meta for tensor in probe_inputs(filled, META).tensors())


def test_a_model_in_two_halves_is_refused():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2, device='meta'))
    with pytest.raises(
        ValueError, match=r'2 of the 4 tensors of Sequential are on the meta device \(1.weight, 1.bias\)'
    ):
        check_device(model)
