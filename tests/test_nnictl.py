from __future__ import annotations

import http.server
import threading

import pytest
from nni.tools.nnictl import nnictl as released, rest_utils

from nni_cafenet import nnictl

RECORD = {'id': 'a', 'port': 8080, 'status': 'RUNNING', 'prefixUrl': 'own/~token'}
LISTED = {
    'a': RECORD,
    'b': {**RECORD, 'port': 8081, 'prefixUrl': None},
    'c': {**RECORD, 'port': 8082, 'status': 'STOPPED'},
    'd': [],
}


@pytest.fixture
def listed(monkeypatch):
    """``listed(experiments)``: NNI's list of experiments."""

    def use(experiments):
        fake = type('Experiments', (), {'get_all_experiments': lambda self: experiments})
        monkeypatch.setattr(nnictl, 'Experiments', fake)

    return use


@pytest.mark.parametrize(
    ('url', 'expected'),
    [
        (
            'http://localhost:8080/api/v1/nni/trial-jobs?status=x',
            'http://localhost:8080/own/~token/api/v1/nni/trial-jobs?status=x',
        ),
        ('http://localhost:8080/own/~token/api', 'http://localhost:8080/own/~token/api'),
        ('http://localhost:8081/api', 'http://localhost:8081/api'),
        ('http://localhost:8082/api', 'http://localhost:8082/api'),
        ('http://localhost:8083/api', 'http://localhost:8083/api'),
    ],
)
def test_addresses(listed, url, expected):
    listed(LISTED)
    assert nnictl._with_token(url) == expected


def test_a_command(listed, monkeypatch):
    """What nnictl asks for has the token of the experiment at that port."""
    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_DELETE(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            """Say nothing."""

    with http.server.HTTPServer(('localhost', 0), Server) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        listed({'a': {**RECORD, 'port': server.server_port}})
        url = f'http://localhost:{server.server_port}/api/v1/nni/trial-jobs/x'
        monkeypatch.setattr(rest_utils, 'requests', None)  # put back afterwards
        monkeypatch.setattr(released, 'parse_args', lambda: rest_utils.rest_delete(url, 20))
        nnictl.main()
    assert asked == ['/own/~token/api/v1/nni/trial-jobs/x']
