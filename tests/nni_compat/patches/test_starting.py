from __future__ import annotations

import http.server
import socket
import threading
import time

import nni.experiment.launcher as launcher
import pytest
from requests.exceptions import ConnectionError as NoConnection

from nni_cafenet.nni_compat.patches import patch_nni, starting


class Manager:
    """A process that begins to answer some time after its start, or ends."""

    def __init__(self, port, after=None, ends=False):
        self.ends = ends
        self.server = None
        if after is not None:
            threading.Timer(after, self.serve, [port]).start()

    def serve(self, port):
        self.server = http.server.HTTPServer(('localhost', port), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def poll(self):
        return 1 if self.ends else None


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.end_headers()
        self.wfile.write(b'{}')

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def start(monkeypatch):
    """``start(after=0.5)``: start a manager as NNI does, wait for it, and return the seconds; it is ended afterwards."""
    monkeypatch.setattr(launcher, '_start_rest_server', lambda manager: manager)
    monkeypatch.setattr(launcher, '_check_rest_server', released_check)
    starting.wait_for_managers()
    managers = []

    def run(**options):
        with socket.socket() as free:
            free.bind(('localhost', 0))
            port = free.getsockname()[1]
        managers.append(Manager(port, **options))
        assert launcher._start_rest_server(managers[-1]) is managers[-1]
        begin = time.monotonic()
        launcher._check_rest_server(port, url_prefix=None)
        return time.monotonic() - begin

    yield run
    for manager in managers:
        if manager.server is not None:
            manager.server.shutdown()
            manager.server.server_close()


def released_check(port, retry=0, url_prefix=None):
    """NNI's own, without its 3 s."""
    launcher.rest.get(port, '/check-status', url_prefix)


def test_a_slow_manager_is_waited_for(start):
    with pytest.raises(NoConnection):
        released_check(1)
    assert start(after=0.5) >= 0.5


def test_a_manager_that_has_ended_is_not(start, monkeypatch):
    monkeypatch.setattr(starting, 'PATIENCE', 1e9)
    with pytest.raises(NoConnection):
        start(ends=True)


def test_patience_ends(start, monkeypatch):
    monkeypatch.setattr(starting, 'PATIENCE', 0.3)
    with pytest.raises(NoConnection):
        start()


def test_mending_twice_changes_nothing():
    patch_nni()
    before = launcher._check_rest_server, launcher._start_rest_server
    patch_nni()
    assert (launcher._check_rest_server, launcher._start_rest_server) == before
