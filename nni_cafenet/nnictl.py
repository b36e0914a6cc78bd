"""NNI's ``nnictl`` with the protection of this package: ``python -m nni_cafenet.nnictl view ID --port 8080``.

The released ``nnictl`` starts NNI's web server unprotected (``view``, ``create``, ``resume``), and it has no token, so
that a protected manager lets it read (``trial ls``, ``experiment status``) but change nothing (``trial kill``,
``update``). ``nnictl stop`` sends a signal and needs neither.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from nni.tools.nnictl import nnictl, rest_utils
from nni.tools.nnictl.config_utils import Experiments

from .nni_compat import patch_nni

__all__ = ['main']


class _Requests:
    """`requests`, with the token of the experiment that an address belongs to."""

    exceptions = requests.exceptions

    def __getattr__(self, name: str) -> Any:
        function = getattr(requests, name)
        return lambda url, *args, **kwargs: function(_with_token(url), *args, **kwargs)


def _with_token(url: str) -> str:
    parts = urlsplit(url)
    for experiment in Experiments().get_all_experiments().values():
        if isinstance(experiment, dict) and experiment.get('port') == parts.port and experiment.get('prefixUrl'):
            prefix = experiment['prefixUrl'].strip('/')
            if experiment.get('status') != 'STOPPED' and not parts.path.startswith(f'/{prefix}/'):
                return urlunsplit(parts._replace(path=f'/{prefix}{parts.path}'))
    return url


def main() -> None:
    """Run a command of ``nnictl``."""
    patch_nni()
    rest_utils.requests = _Requests()
    nnictl.parse_args()


if __name__ == '__main__':
    main()
