from __future__ import annotations

import pytest
import torch
from torch import nn

from nni_cafenet.analysis.verification import SameOutputs, forwards
from nni_cafenet.graph.example_input import ExampleInput

Conv = nn.Conv2d
PICTURE = (1, 3, 6, 6)


def chain(wired):
    members = {'a': Conv(3, 4, 1), 'b': Conv(4, 5, 1), 'c': Conv(5, 6, 1), 'd': Conv(6, 2, 1)}
    return wired(lambda net, x: net.d(net.c(net.b(net.a(x)))), **members)


@pytest.mark.parametrize('large', [10**8, 0], ids=['small', 'large'])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
def test_whether_a_model_still_computes_the_same(analyzed, wired, monkeypatch, dtype, large):
    monkeypatch.setattr(forwards, '_LARGE', large)  # float64 is for small models
    model = chain(wired)
    example = ExampleInput.of(PICTURE, model)  # in the precision that the model had
    unchanged = SameOutputs(model.to(dtype).train(), analyzed(model, PICTURE), example)
    assert unchanged.stand_ins == {}
    assert unchanged()
    for tensor, axis in ((model.a.weight, 0), (model.a.bias, 0), (model.b.weight, 1)):
        with torch.no_grad():
            tensor.copy_(tensor.flip(axis))
        assert unchanged() == (tensor is model.b.weight)
    assert model.training


def test_stand_ins_show_what_zeros_hide(analyzed, wired):
    model = chain(wired)
    nn.init.zeros_(model.d.weight)
    unchanged = SameOutputs(model, analyzed(model, PICTURE), ExampleInput.of(PICTURE, model))
    assert list(unchanged.stand_ins) == ['d.weight']
    with torch.no_grad():
        model.c.weight.copy_(model.c.weight.flip(0))
        model.c.bias.copy_(model.c.bias.flip(0))
        assert not unchanged()
        unchanged.stand_ins['d.weight'].copy_(unchanged.stand_ins['d.weight'].flip(1))
    assert unchanged()


def test_noise_is_no_change(analyzed, wired):
    model = wired(lambda net, x: net.b(net.a(x + torch.rand_like(x))), a=Conv(3, 4, 1), b=Conv(4, 2, 1))
    before = torch.get_rng_state()
    unchanged = SameOutputs(model, analyzed(model, PICTURE), ExampleInput.of(PICTURE, model))
    assert unchanged()
    assert torch.equal(torch.get_rng_state(), before)
