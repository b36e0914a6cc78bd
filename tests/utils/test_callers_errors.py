"""Errors of the caller pass through code that catches those of a model."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nni_cafenet import WidthSpace
from nni_cafenet.utils import pass_on


class StoppedError(Exception):
    """What a user's handler raises."""


def handler(number: int, frame: Any) -> None:
    raise StoppedError('time is up')


class Handler:
    def __call__(self, *given: Any) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)  # gone before the error is seen
        raise StoppedError('time is up')


def interrupted(by: Callable[..., None], then: Callable[[BaseException], None] = lambda error: None) -> None:
    before = signal.signal(signal.SIGUSR1, by)
    try:
        try:
            signal.raise_signal(signal.SIGUSR1)
        except Exception as error:
            then(error)
            raise
    finally:
        signal.signal(signal.SIGUSR1, before)


def wrap(error: BaseException) -> None:
    raise RuntimeError('a library says something else') from error


@pytest.mark.parametrize('by', [handler, Handler()])
@pytest.mark.parametrize('then', [wrap, lambda error: None])
def test_what_a_signal_handler_raises_passes(by: Any, then: Any) -> None:
    with pytest.raises(Exception, match='time is up|something else') as caught:
        interrupted(by, then)
    with pytest.raises(StoppedError):
        pass_on(caught.value)


@pytest.mark.parametrize('error', [TimeoutError('late'), MemoryError(), torch.OutOfMemoryError()])
def test_time_limits_and_memory_that_ran_out_pass(error: Exception) -> None:
    with pytest.raises(type(error)):
        pass_on(error)


def test_errors_of_a_model_do_not_pass() -> None:
    pass_on(ValueError('shapes'))
    pass_on(MemoryError(), memory=False)


class Interrupted(nn.Module):
    """A model during whose n-th forward a signal arrives."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        self.calls = {'left': at}

    def forward(self, x: Tensor) -> Tensor:
        self.calls['left'] -= 1
        if self.calls['left'] == 0:
            signal.raise_signal(signal.SIGUSR1)
        return self.layers(x)


@pytest.mark.parametrize('at', [1, 2, 3, 5])
def test_a_time_limit_ends_the_analysis(at: int) -> None:
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(StoppedError):
            WidthSpace(Interrupted(at), example_input=torch.randn(2, 4))
    finally:
        signal.signal(signal.SIGUSR1, before)
