"""Experiments carry a token in the addresses of their manager.

NNI has a ``url_prefix`` for its manager's addresses, and its classes use it in every request to the manager. The token
is its last segment: ``~`` and 32 letters. Clients with it may change something; others may only read (``guard.js``).
"""

from __future__ import annotations

import contextvars
import functools
import ipaddress
import logging
import re
import secrets
from typing import Any

from nni.experiment.experiment import Experiment
from nni.nas.experiment import NasExperiment
from nni.tools.nnictl.config_utils import Experiments

__all__ = ['address', 'give_tokens_to_experiments', 'split']

_logger = logging.getLogger('nni.experiment')

address: contextvars.ContextVar[str | None] = contextvars.ContextVar('address', default=None)
"""The address, besides loopback, on which the manager will listen."""

_TOKEN = re.compile(r'(?:^|/)~([\w-]{32,})$')


def split(url_prefix: str | None) -> tuple[str, str | None]:
    """Split a ``url_prefix`` into the user's own part and the token."""
    text = (url_prefix or '').strip('/')
    match = _TOKEN.search(text)
    return (text, None) if match is None else (text[: match.start()], match.group(1))


def give_tokens_to_experiments() -> None:
    """Make experiments start their managers with a token, and use it."""
    if getattr(Experiment._start_nni_manager, 'gives_token', False):
        return
    released, released_nas = Experiment._start_nni_manager, NasExperiment._start_nni_manager

    @functools.wraps(released_nas)
    def start_nas(self: Any, port: int, *args: Any, **kwargs: Any) -> Any:
        _renew_token(self)
        kwargs.setdefault('tuner_command_channel', f'ws://localhost:{port}/{self.url_prefix}/tuner')
        return released_nas(self, port, *args, **kwargs)

    @functools.wraps(released)
    def start(self: Any, port: int, *args: Any, **kwargs: Any) -> Any:
        if split(self.url_prefix)[1] is None:
            _renew_token(self)
        listens_on = _named_address(self.config.canonical_copy(), has_trials=self._action != 'view')
        before = address.set(listens_on)
        _logger.addFilter(_without_addresses)
        try:
            done = released(self, port, *args, **kwargs)
        finally:
            _logger.removeFilter(_without_addresses)
            address.reset(before)
        for host in ['127.0.0.1', *([] if listens_on is None else [listens_on])]:
            _logger.info('Web portal: ${CYAN}http://%s:%s/%s', host, port, self.url_prefix)
        return done

    released_connect = Experiment.connect.__func__

    @functools.wraps(released_connect)
    def connect(cls: Any, port: int) -> Any:
        experiment = released_connect(cls, port)
        record = Experiments().get_all_experiments().get(experiment.id)
        experiment.url_prefix = record.get('prefixUrl') if isinstance(record, dict) else None
        return experiment

    start.gives_token = True  # type: ignore[attr-defined]
    Experiment.connect = classmethod(connect)
    Experiment._start_nni_manager, NasExperiment._start_nni_manager = start, start_nas


def _renew_token(experiment: Any) -> None:
    own, _ = split(experiment.url_prefix)
    experiment.url_prefix = '/'.join(filter(None, [own, '~' + secrets.token_hex(16)]))


def _without_addresses(record: logging.LogRecord) -> bool:
    """Drop NNI's list of web portal addresses: those of all networks, without the token."""
    return not str(record.msg).startswith('Web portal URLs')


def _named_address(config: Any, *, has_trials: bool) -> str | None:
    """Return the address, besides loopback, on which the manager is to listen.

    Raises ValueError if trials on other machines have no address of the manager, or an invalid one.
    """
    services = config.training_service if isinstance(config.training_service, list) else [config.training_service]
    named = [config.nni_manager_ip, *(getattr(service, 'nni_manager_ip', None) for service in services)]
    found = next((each for each in named if isinstance(each, str)), None)
    platforms = [service.platform for service in services]
    if found is None and has_trials and any(platform != 'local' for platform in platforms):
        raise ValueError(
            f'nni_manager_ip: trials of the training service {platforms[0]!r} run on other machines, and the NNI manager '
            "listens on this one alone unless it is told an address. Set config.nni_manager_ip = '10.0.0.5', the address "
            'of this machine in a network that you trust: the web UI and the trials can then be reached from there.'
        )
    if found is None or _is_loopback(found):
        return None
    if not re.fullmatch(r'[\w.:-]+', found):
        raise ValueError(f'nni_manager_ip={found!r}: the address or the name of this machine, without a port or a path')
    return found


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return text.lower() == 'localhost'
