import resource
import signal
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from zoo.measures import OutOfTimeError, distance, first_line, peak_memory, run, run_counted, stopwatch, time_limit


def test_distance_is_relative_to_the_largest_value_of_each_tensor():
    left = [torch.tensor([4.0, 1.0]), torch.tensor([10.0])]
    right = [torch.tensor([4.0, 2.0]), torch.tensor([10.0])]
    assert distance(left, right) == 0.25


@pytest.mark.parametrize(
    ('left', 'right'),
    [
        ([], []),
        ([torch.zeros(2)], [torch.zeros(3)]),
        ([torch.zeros(2)], [torch.zeros(2), torch.zeros(2)]),
        ([torch.tensor([float('nan')])], [torch.tensor([1.0])]),
        ([torch.tensor([float('nan')])], [torch.tensor([float('nan')])]),
        ([torch.tensor([float('inf')])], [torch.tensor([1.0])]),
    ],
)
def test_nothing_to_compare_other_shapes_and_nan_are_infinitely_far(left, right):
    assert distance(left, right) == float('inf')


def test_equal_infinities_labels_and_empty_tensors_do_not_differ():
    same = [torch.tensor([float('inf'), 1.0]), torch.tensor([1, 2]), torch.empty(0, 4)]
    assert distance(same, [tensor.clone() for tensor in same]) == 0.0


def test_run_returns_the_tensors_of_any_output_with_the_same_dropout_each_time():
    class Two(nn.Module):
        def forward(self, x):
            return {'out': nn.functional.dropout(x, training=True), 'rest': [x.sum(), 'text']}

    first, second = run(Two(), (torch.ones(50),)), run(Two(), (torch.ones(50),))
    assert len(first) == 2
    assert distance(first, second) == 0.0


def test_macs_of_a_linear_layer():
    output, macs = run_counted(nn.Linear(3, 4), (torch.ones(1, 3),))
    assert (output[0].shape, macs) == ((1, 4), 12)


def test_time_limit_stops_a_block_even_where_errors_are_swallowed():
    def tool():
        while True:
            try:
                sum(range(1000))
            except Exception:
                continue

    with pytest.raises(OutOfTimeError, match=r'more than 0\.05 s'), time_limit(0.05):
        tool()


def test_time_limit_of_a_block_ends_with_it():
    with time_limit(600):
        assert signal.getitimer(signal.ITIMER_PROF)[0] > 0
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_stopwatch_tells_waiting_from_work(monkeypatch):
    monkeypatch.setattr(time, 'perf_counter', iter([10.0, 12.5]).__next__)
    monkeypatch.setattr(time, 'process_time', iter([1.0, 1.251]).__next__)
    with stopwatch() as watch:
        pass
    assert watch.row() == {'seconds': 2.5, 'cpu_seconds': 0.25}


def test_macs_where_a_module_is_called_on_a_view_of_a_parameter():
    class Token(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1, 1, 3))
            self.layer = nn.Linear(3, 4)

        def forward(self, x):
            return self.layer(self.token.expand(x.shape[0], -1, -1))

    model = Token()
    model.layer.bias.requires_grad_(False)
    assert run_counted(model, (torch.ones(1, 3),))[1] == 12
    assert [name for name, each in model.named_parameters() if not each.requires_grad] == ['layer.bias']


@pytest.mark.parametrize(('platform', 'peak'), [('linux', 3 * 2**10), ('darwin', 3 * 2**20)])
def test_peak_memory_is_in_mebibytes(monkeypatch, platform, peak):
    monkeypatch.setattr(sys, 'platform', platform)
    monkeypatch.setattr(resource, 'getrusage', lambda who: SimpleNamespace(ru_maxrss=peak))
    assert peak_memory() == 3.0


def test_first_line_of_an_error():
    assert first_line(ValueError('what\nmore')) == 'ValueError: what'
    assert first_line(KeyError()) == 'KeyError'
