"""Results on their way to NNI: what the user's module reports is taken, and what a stage reports goes out instead."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import nni
import nni.trial
from nni.runtime.trial_command_channel import (
    TrialCommandChannel,
    get_default_trial_command_channel,
    set_default_trial_command_channel,
)

from ..errors import first_line

__all__ = ['CapturedResults', 'reports_may_fail', 'taken_reports']

_logger = logging.getLogger(__name__)

_Channel = TypeVar('_Channel', bound=TrialCommandChannel)


class CapturedResults(TrialCommandChannel):
    """Takes what ``nni.report_intermediate_result`` and ``nni.report_final_result`` are called with.

    Parameters
    ----------
    forward
        Makes of an intermediate result what is sent on in its place; None: nothing is sent.

    Attributes
    ----------
    intermediate
        How many intermediate results there were.
    final
        The last final result, or None.
    """

    def __init__(self, forward: Callable[[Any], Any] | None = None) -> None:
        self.intermediate = 0
        self.final: Any = None
        self._forward = forward
        self._sent = 0
        self._outer = get_default_trial_command_channel()

    def send(self, value: Any) -> None:
        """Report an intermediate result of the stage itself."""
        self._outer.send_metric('PERIODICAL', _parameter_id(), nni.get_trial_id(), self._sent, value)
        self._sent += 1

    def receive_parameter(self) -> Any:
        """Pass on the parameter of the trial."""
        return self._outer.receive_parameter()

    def send_metric(self, type: Any, parameter_id: Any, trial_job_id: Any, sequence: int, value: Any) -> None:
        """Take a result."""
        if type == 'FINAL':
            self.final = value
            return
        self.intermediate += 1
        if self._forward is not None:
            self.send(self._forward(value))


class _MayFail(TrialCommandChannel):
    """Passes results on; where nobody takes them, the trial goes on."""

    def __init__(self) -> None:
        self._outer = get_default_trial_command_channel()

    def receive_parameter(self) -> Any:
        return self._outer.receive_parameter()

    def send_metric(self, *args: Any, **kwargs: Any) -> None:
        try:
            self._outer.send_metric(*args, **kwargs)
        except OSError as error:  # those of requests are
            _logger.warning('A result could not be reported to NNI (%s).', first_line(error, 200))


@contextlib.contextmanager
def reports_may_fail() -> Iterator[None]:
    """Let no training or score of a block be lost because the NNI manager is gone and takes no results."""
    with _channel(_MayFail()):
        yield


@contextlib.contextmanager
def taken_reports(forward: Callable[[Any], Any] | None = None) -> Iterator[CapturedResults]:
    """Take all results that are reported in a block (see `CapturedResults`)."""
    with _channel(CapturedResults(forward)) as reports:
        yield reports


@contextlib.contextmanager
def _channel(channel: _Channel) -> Iterator[_Channel]:
    """Let a channel take what is reported in a block."""
    outer = get_default_trial_command_channel()
    set_default_trial_command_channel(channel)
    try:
        yield channel
    finally:
        set_default_trial_command_channel(outer)


def _parameter_id() -> Any:
    return None if nni.trial._params is None else nni.trial._params['parameter_id']
