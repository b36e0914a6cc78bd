from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from nni_cafenet.supernet.weight_average import WeightAverage, put_average


def walk(average, module, weights, start=0):
    """Give a module some weights, one a step, and let the average see them."""
    for step, weight in enumerate(weights, start=start + 1):
        with torch.no_grad():
            module.weight.fill_(weight)
        average.on_train_batch_end(SimpleNamespace(global_step=step), module, None, None, 0)


def test_the_average_takes_the_place_of_the_weights():
    module, average = nn.Linear(1, 1, bias=False), WeightAverage(0.5)
    walk(average, module, [1.0, 2.0, 4.0])
    # decays 1/10, 2/11, 3/12: 1; 1 * 2/11 + 2 * 9/11 = 20/11; 20/11 * 1/4 + 4 * 3/4
    expected = 20 / 11 / 4 + 3
    assert float(module.weight) == 4
    average.on_train_end(None, module)
    assert float(module.weight) == pytest.approx(expected)
    put_average(module, {'applied': True, 'average': {'weight': torch.zeros(1, 1)}})  # done before
    assert float(module.weight) == pytest.approx(expected)


def test_batches_without_a_step_do_not_count():
    module, average = nn.Linear(1, 1, bias=False), WeightAverage(0.9)
    walk(average, module, [1.0])
    with torch.no_grad():
        module.weight.fill_(9.0)
    average.on_train_batch_end(SimpleNamespace(global_step=1), module, None, None, 1)
    assert average.state_dict()['steps'] == 1


def test_it_goes_on_from_a_checkpoint():
    module, whole = nn.Linear(1, 1, bias=False), WeightAverage(0.9)
    walk(whole, module, [1.0, 2.0, 3.0, 5.0])
    first, second = WeightAverage(0.9), WeightAverage(0.9)
    walk(first, module, [1.0, 2.0])
    second.load_state_dict(first.state_dict())
    walk(second, module, [3.0, 5.0], start=2)
    assert torch.equal(second.state_dict()['average']['weight'], whole.state_dict()['average']['weight'])


def test_an_average_that_was_not_applied_is_applied_where_a_run_resumes():
    module, average = nn.Linear(1, 1, bias=False), WeightAverage(0.9)
    walk(average, module, [1.0, 3.0])
    other = nn.Linear(1, 1, bias=False)
    put_average(other, average.state_dict())
    average.on_train_end(None, module)
    assert torch.equal(other.weight, module.weight)
