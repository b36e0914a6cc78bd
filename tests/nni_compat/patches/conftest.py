"""NNI's own manager, started as experiments start it, without torch and without trials: ``manager()``."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import nni.experiment.launcher as launcher
import psutil
import pytest
from nni.nas.experiment import NasExperimentConfig
from websockets.sync.client import connect

from nni_cafenet.nni_compat.patches import credentials, manager_process, patch_nni

TOKEN = '0123456789abcdef' * 2


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


class GuardedManager:
    """A manager of NNI, and requests to it."""

    def __init__(
        self,
        root: Path,
        address: str | None = None,
        prefix: str = '',
        mode: str = 'background',
        port: int | None = None,
    ) -> None:
        self.port = free_port() if port is None else port
        self.root = root
        self.prefix = f'{prefix}/~{TOKEN}'.strip('/')
        given = NasExperimentConfig('ts', 'simplified', 'local', trial_concurrency=1)
        given.experiment_working_directory = str(root / 'nni')
        config = given.canonical_copy()
        self.config = config.json()
        self.config['trialCommand'] = self.config['trainingService']['trialCommand'] = 'exec sleep 1000'
        channel = f'ws://localhost:{self.port}/{self.prefix}/tuner'
        args = launcher.NniManagerArgs('create', 'mine', config, self.port, False, False, self.prefix, channel)
        self.log = root / 'nni' / 'mine' / 'log' / 'nnimanager.log'
        before = credentials.address.set(address)
        try:
            self.process = launcher._start_rest_server(args, SimpleNamespace(value=mode))
        finally:
            credentials.address.reset(before)

    def wait(self, seconds: float = 60.0) -> GuardedManager:
        """Wait until it answers."""
        end = time.monotonic() + seconds
        while self.request('GET', f'/{self.prefix}/api/v1/nni/check-status')[1][:2] != '{"':
            assert self.process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        return self

    def request(self, method: str, path: str, body=None, host: str = '127.0.0.1', **headers):
        """Send a request as it is; return the status, the text, and the headers."""
        connection = http.client.HTTPConnection(host, self.port, timeout=20)
        headers = {name.replace('_', '-'): value for name, value in headers.items()}
        headers = {'Host': f'127.0.0.1:{self.port}', **headers}
        try:
            connection.putrequest(method, path, skip_host=True)
            data = b'' if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
            if body is not None:
                headers = {'Content-Type': 'application/json', **headers, 'Content-Length': str(len(data))}
            for name, value in headers.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(data)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors='replace'), dict(answer.getheaders())
        except OSError as error:
            return None, repr(error), {}
        finally:
            connection.close()

    def api(self, method: str, word: str, body=None, **headers):
        """Send a request with the token."""
        return self.request(method, f'/{self.prefix}/api/v1/nni/{word}', body, **headers)

    def connect(self, path: str, **options):
        """Open a WebSocket."""
        return connect(f'ws://127.0.0.1:{self.port}{path}', **options)

    @contextlib.contextmanager
    def experiment(self):
        """Start an experiment, with a strategy in its channel that the test speaks for: ``tell(type, content)``."""
        assert self.api('POST', 'experiment', self.config)[0] == 200
        with self.connect(f'/{self.prefix}/tuner') as channel:
            assert json.loads(channel.recv(20))['type'] == 'IN'

            def tell(kind, content=''):
                text = content if isinstance(content, str) else json.dumps(content)
                channel.send(json.dumps({'type': kind, 'content': text}))

            tell.channel = channel
            tell('ID')
            yield tell

    def trials(self):
        """The trials."""
        return json.loads(self.api('GET', 'trial-jobs')[1])

    def listening(self) -> set[tuple[str, int]]:
        """Where it and its children listen."""
        me = psutil.Process(self.process.pid)
        found = [each.net_connections('inet') for each in [me, *me.children(recursive=True)]]
        return {tuple(each.laddr) for one in found for each in one if each.status == psutil.CONN_LISTEN}

    def end(self) -> None:
        """Kill it and its trials."""
        if self.process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def fake_tensorboard(root: Path, patch: pytest.MonkeyPatch) -> None:
    """A program in the place of TensorBoard that writes down its arguments."""
    (root / 'tensorboard.py').write_text("__version__ = '2.14.0'")
    program = root / 'tensorboard'
    program.write_text('#!/bin/sh\necho "$@" > "$HOME/new" && mv "$HOME/new" "$HOME/arguments"\n')
    program.chmod(0o755)
    patch.setenv('PATH', str(root), prepend=os.pathsep)
    patch.setenv('PYTHONPATH', str(root), prepend=os.pathsep)


@pytest.fixture(scope='module')
def start_manager(tmp_path_factory):
    """``start_manager(address=None, prefix='', mode='background', port=None)``: a manager, which is killed at the end."""
    patch_nni()
    started = []
    with pytest.MonkeyPatch.context() as patch:

        def start(**options):
            root = tmp_path_factory.mktemp('manager')
            patch.setenv('HOME', str(root))
            fake_tensorboard(root, patch)
            patch.setattr(manager_process, 'NNI_HOME_DIR', str(root / 'nni-experiments'))
            started.append(GuardedManager(root, **options))
            return started[-1]

        yield start
        for manager in started:
            manager.end()


@pytest.fixture(scope='module')
def manager(start_manager):
    """A manager that answers."""
    return start_manager().wait()


def wait_until(condition, seconds=30.0):
    """Return the condition's first true value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f'not true within {seconds} seconds'
        time.sleep(0.02)
    return value


@pytest.fixture(scope='session')
def until():
    """``until(condition, seconds=30)``: wait for it."""
    return wait_until
