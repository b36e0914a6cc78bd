"""Messages of the NNI manager to a strategy are data, never code; malformed ones are skipped.

Fault in NNI: metrics of trials are read by `nni.load`, which unpickles and calls whatever the text names. Anyone who
reaches a trial's channel (open on other machines) could run code in the main process. And a message that cannot be
parsed, or is unknown to the channel, ends the listening thread, so that the experiment waits forever: a resumed one
receives such commands (``ImportData``, ``AddCustomizedTrialJob``) from NNI itself.
"""

from __future__ import annotations

import functools
import json
import logging
from typing import Any

from nni.common.serializer import load
from nni.runtime.tuner_command_channel import TunerCommandChannel, channel

__all__ = ['read_commands_as_data']

_logger = logging.getLogger(__name__)

_DATA = {
    '__ndarray__',
    '__complex__',
    '__date__',
    '__time__',
    '__datetime__',
    '__timedelta__',
    '__decimal__',
    '__set__',
}
"""Keys of objects that `nni.load` restores from data. For others it imports, calls or unpickles code."""


def read_commands_as_data() -> None:
    """Make NNI's channel for strategies read only data, and skip what it cannot parse."""
    released = TunerCommandChannel.receive
    if getattr(released, 'reads_data', False):
        return

    @functools.wraps(released)
    def receive(self: Any) -> Any:
        while True:
            try:
                return released(self)
            except (KeyError, TypeError, ValueError) as error:
                expected = str(error).startswith('Unknown command type')
                level = logging.DEBUG if expected else logging.WARNING
                _logger.log(level, 'Skipped a message of the NNI manager: %s', str(error)[:300])

    receive.reads_data = True  # type: ignore[attr-defined]
    TunerCommandChannel.receive = receive
    channel.load = _load


def _load(text: str) -> Any:
    """Parse a message of the manager: of a trial's parameters only their ids, of anything else all of it."""
    found = json.loads(text)
    if isinstance(found, dict) and 'parameters' in found:
        return {name: value for name, value in found.items() if name != 'parameters'}
    if _has_code(found):
        raise ValueError('a metric that would run code. Report numbers, or dictionaries of numbers.')
    return load(text)


def _has_code(found: Any) -> bool:
    if isinstance(found, dict):
        named = {name for name in found if name.startswith('__') and name.endswith('__')}
        return not named <= _DATA or any(map(_has_code, found.values()))
    return isinstance(found, list) and any(map(_has_code, found))
