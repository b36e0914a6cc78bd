from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from nni_cafenet.analysis.unwrap import bare_model, fill_lazy_layers
from nni_cafenet.graph.example_input import ExampleInput

CALL = torch.randn(2, 3)


def pair() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).eval()


def test_a_bare_model_is_returned_as_it_is(caplog):
    model = pair()
    assert bare_model(model) is model
    assert not caplog.records


def test_wrappers_inside_one_another_come_off():
    model = pair()
    assert bare_model(torch.compile(nn.DataParallel(torch.compile(model)))) is model


def test_distributed_data_parallel_comes_off(tmp_path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/meet', rank=0, world_size=1)
    try:
        model = pair()
        assert bare_model(nn.parallel.DistributedDataParallel(model)) is model
    finally:
        torch.distributed.destroy_process_group()


def test_parts_come_out_of_their_wrappers_in_place(caplog):
    model = pair()
    first, second = model
    model[0], model[1] = torch.compile(first), nn.DataParallel(second)
    with caplog.at_level(logging.WARNING):
        assert bare_model(model) is model
    assert [model[0], model[1]] == [first, second]
    assert list(model.state_dict()) == ['0.weight', '0.bias', '1.weight', '1.bias']
    assert 'The part 1 of the model is taken out of its DataParallel' in caplog.text


def test_compile_in_place_is_undone(caplog):
    model = pair()
    model.compile()
    model[0].compile()
    with caplog.at_level(logging.WARNING):
        bare_model(model)
    assert [module._compiled_call_impl for module in model.modules()] == [None] * 3
    assert 'Compile the slim models' in caplog.text


def exported() -> nn.Module:
    return torch.export.export(pair(), (CALL,)).module()


def quantized() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(pair())


def observed() -> nn.Module:
    model = pair()
    model.qconfig = torch.ao.quantization.get_default_qconfig('x86')
    return torch.ao.quantization.prepare(model)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: torch.jit.script(pair()), 'it is TorchScript. Give the Python module'),
        (lambda: torch.jit.trace(pair(), CALL), 'it is TorchScript. Give the Python module'),
        (lambda: nn.Sequential(torch.jit.script(nn.Linear(3, 4))), "its part '0' is TorchScript"),
        (exported, 'it came out of torch.export, for one width. Give the module that was exported'),
        (quantized, r"its part '0' is quantized \(Linear\).*Build the space from the float model"),
        (observed, "its part '0.activation_post_process' observes values.*before torch.ao.quantization.prepare"),
        (lambda: nn.ModuleList([nn.Linear(3, 4)]), 'it has no forward'),
        (nn.Module, 'it has no forward'),
    ],
)
@pytest.mark.filterwarnings('ignore')
def test_what_is_no_code_for_other_widths_is_refused(make, message):
    with pytest.raises(TypeError, match=f'model=.* cannot become a width space: {message}'):
        bare_model(make())


def test_graphs_of_fx_are_models_like_others():
    model = torch.fx.symbolic_trace(pair())
    assert bare_model(model) is model


def test_lazy_layers_keep_modes_and_statistics():
    model = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d()).train()
    fill_lazy_layers(model, ExampleInput((CALL + 5,), {}))
    assert model.training
    assert model[0].weight.shape == (4, 3)
    assert not model[1].running_mean.any()
