from __future__ import annotations

import pytest
import torch
from torch import nn

from nni_cafenet.search.model_outputs import Logits, recorded_outputs, replayed_outputs

LOGITS = Logits(frozenset({(0, 1)}), (2,))


class Net(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x + 1, {'out': x}


def divide(call, output):
    return LOGITS.divided(call, output, 2)


def test_callers_get_divided_logits_and_the_rest_as_it_is():
    model, x = Net(), torch.ones(3)
    with recorded_outputs(model, divide) as outputs:
        features, logits = model.forward(x)
    assert torch.equal(features, x + 1)
    assert torch.equal(logits['out'], x / 2)
    assert torch.equal(outputs[0][1]['out'], x)  # as the model returned it
    with replayed_outputs(model, outputs, divide):
        assert torch.equal(model(None)[1]['out'], x / 2)
    assert model.calls == 1
    assert 'forward' not in vars(model)


def test_a_forward_of_the_users_own_stays():
    model = Net()
    model.forward = own = lambda x: x
    with recorded_outputs(model) as outputs:
        model(torch.ones(1))
    assert len(outputs) == 1
    assert model.forward is own


def test_steps_that_call_the_model_otherwise_are_refused():
    model = Net()
    with recorded_outputs(model, divide) as outputs:
        model(torch.ones(1))
        with pytest.raises(ValueError, match='differently from batch to batch'):
            model(torch.ones(1))
    with replayed_outputs(model, outputs[:1], divide):
        model(None)
        with pytest.raises(ValueError, match='a different number of times'):
            model(None)
