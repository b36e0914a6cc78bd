from __future__ import annotations

import pytest
import torch
from torch import nn

from nni_cafenet import time_model
from nni_cafenet.graph.example_input import ExampleInput
from nni_cafenet.latency import clock as clock_file
from nni_cafenet.latency.clock import Clock, Timing, check_device
from nni_cafenet.latency.recorded_ops import recorded_operators


@pytest.fixture
def ticking(monkeypatch):
    """A clock that advances by what a test says: ``ticking(ns)``."""
    now = [0]
    monkeypatch.setattr(clock_file.time, 'perf_counter_ns', lambda: now[0])

    def advance(nanoseconds):
        now[0] += nanoseconds

    return advance


class Slow(nn.Module):
    """Takes the given times in turn, and remembers how it was called."""

    def __init__(self, advance, *times):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.advance, self.times, self.calls = advance, list(times), []

    def forward(self, x):
        self.calls.append((tuple(x.shape), self.training, torch.is_grad_enabled(), torch.get_num_threads()))
        self.advance(self.times[(len(self.calls) - 1) % len(self.times)])
        return self.layer(x)


def test_a_model_is_timed_after_a_warm_up(ticking):
    model = Slow(ticking, 999, 999, 10, 20, 30, 40, 50)
    model.train()
    timing = time_model(model, (1, 2), batch=3, threads=1, warmup=2, repeats=5)
    assert timing == Timing(median=30, low=20, high=40, runs=5)
    assert model.calls == [((3, 2), False, False, 1)] * 7
    assert model.training


def test_modes_and_threads_are_put_back(ticking):
    class Breaks(Slow):
        def forward(self, x):
            raise RuntimeError('no')

    model = Breaks(ticking, 1)
    model.layer.eval()
    threads = torch.get_num_threads()
    with pytest.raises(RuntimeError, match='no'):
        time_model(model, (1, 2), threads=threads + 1)
    assert (model.training, model.layer.training) == (True, False)
    assert torch.get_num_threads() == threads


def test_short_operators_are_timed_in_blocks(ticking):
    (relu,) = recorded_operators(nn.ReLU(), ExampleInput((torch.ones(3),), {}))
    calls = []

    class Fake:
        name, arguments = relu.name, relu.arguments

        def prepared(self, device):
            def call():
                calls.append(device)
                ticking(1000)

            return call

    assert Clock().operator(Fake()) == 1000
    assert len(calls) == 2 + 1 + 5 * 200  # a warm-up, one to see how long it takes, blocks of at most 200


def test_timings_are_summed_up_and_shown():
    assert Timing.of([5]) == Timing(5, 5, 5, 1)
    assert Timing.of([4_000_000, 1_000_000, 2_000_000, 3_000_000]) == Timing(2_500_000, 1_750_000, 3_250_000, 4)
    assert str(Timing(2_500_000, 1_750_000, 3_250_000, 4)) == '2.50 ms (half of 4 runs: 1.75 ms to 3.25 ms)'


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'repeats': 0}, 'repeats=0 must be a whole number, 1 or more'),
        ({'warmup': -1}, 'warmup=-1 must be a whole number, 0 or more'),
        ({'batch': True}, 'batch=True must be'),
        ({'threads': '2'}, "threads='2' must be"),
        ({'device': 'nowhere'}, "device='nowhere' is not a device"),
    ],
)
def test_bad_options(options, said):
    with pytest.raises(ValueError, match=said):
        time_model(nn.Linear(2, 2), (1, 2), **options)


def test_a_model_on_the_meta_device_computes_nothing():
    with pytest.raises(ValueError, match='model is on the meta device'):
        time_model(nn.Linear(2, 2, device='meta'), torch.ones(1, 2))


def test_devices():
    assert check_device('cpu') == torch.device('cpu')
    with pytest.raises(ValueError, match=r"there=3 is not a device of torch: write 'cpu' or 'cuda'|there=3: "):
        check_device(3, 'there')
