"""Interception of results reported to NNI by the user's module."""

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
    """Captures the results of ``nni.report_intermediate_result`` and ``nni.report_final_result``.

    ``forward`` converts an intermediate result to the one sent to NNI; without it, none is sent. ``intermediate``
    counts intermediate results; ``final`` is the last final one.
    """

    def __init__(self, forward: Callable[[Any], Any] | None = None) -> None:
        self.intermediate = 0
        self.final: Any = None
        self._forward = forward
        self._sent = 0
        self._outer = get_default_trial_command_channel()

    def send(self, value: Any) -> None:
        """Send an intermediate result to NNI."""
        self._outer.send_metric('PERIODICAL', _parameter_id(), nni.get_trial_id(), self._sent, value)
        self._sent += 1

    def receive_parameter(self) -> Any:
        """Return the trial's parameter from NNI."""
        return self._outer.receive_parameter()

    def send_metric(self, type: Any, parameter_id: Any, trial_job_id: Any, sequence: int, value: Any) -> None:
        """Capture a result."""
        if type == 'FINAL':
            self.final = value
            return
        self.intermediate += 1
        if self._forward is not None:
            self.send(self._forward(value))


class _MayFail(TrialCommandChannel):
    """Forwards results; a failure is logged and does not stop the trial."""

    def __init__(self) -> None:
        self._outer = get_default_trial_command_channel()

    def receive_parameter(self) -> Any:
        return self._outer.receive_parameter()

    def send_metric(self, *args: Any, **kwargs: Any) -> None:
        try:
            self._outer.send_metric(*args, **kwargs)
        except OSError as error:  # includes those of requests
            _logger.warning('A result could not be reported to NNI (%s).', first_line(error, 200))


@contextlib.contextmanager
def reports_may_fail() -> Iterator[None]:
    """Continue when NNI's manager is gone and results cannot be reported."""
    with _channel(_MayFail()):
        yield


@contextlib.contextmanager
def taken_reports(forward: Callable[[Any], Any] | None = None) -> Iterator[CapturedResults]:
    """Capture all results reported in a block; see `CapturedResults`."""
    with _channel(CapturedResults(forward)) as reports:
        yield reports


@contextlib.contextmanager
def _channel(channel: _Channel) -> Iterator[_Channel]:
    """Route the results reported in a block to a channel."""
    outer = get_default_trial_command_channel()
    set_default_trial_command_channel(channel)
    try:
        yield channel
    finally:
        set_default_trial_command_channel(outer)


def _parameter_id() -> Any:
    return None if nni.trial._params is None else nni.trial._params['parameter_id']
