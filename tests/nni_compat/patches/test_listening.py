"""Where NNI's manager listens, and what it does where it cannot be protected."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import nni.experiment.launcher as launcher
import nni_node
import pytest

from nni_cafenet.errors import UnprotectedManagerError
from nni_cafenet.nni_compat.patches import manager_process

SCRIPTS = Path(manager_process.__file__).parent
NODE = next(path for path in (Path(nni_node.__path__[0], name) for name in ('node', 'node.exe')) if path.exists())


def test_it_listens_on_loopback_alone(manager):
    assert manager.listening() <= {('127.0.0.1', manager.port), ('::1', manager.port)}
    assert ('127.0.0.1', manager.port) in manager.listening()
    hosts = {host for host, _ in manager.listening()}
    assert all(manager.request('GET', '/api/v1/nni/version', host=host)[0] == 200 for host in hosts)


def test_it_listens_on_an_address_that_is_named(start_manager):
    manager = start_manager(address='127.0.0.2').wait()
    assert manager.listening() >= {('127.0.0.1', manager.port), ('127.0.0.2', manager.port)}
    for host in ('127.0.0.1', '127.0.0.2'):
        assert manager.request('GET', f'/{manager.prefix}/api/v1/nni/version', host=host, Host=f'{host}:1')[0] == 200
    assert manager.request('GET', '/api/v1/nni/version', host='127.0.0.2', Host='evil.example')[0] == 403
    with manager.connect(f'/{manager.prefix}/tuner'):
        pass


def test_an_address_that_is_taken_or_not_there(start_manager):
    manager = start_manager(address='192.0.2.1')  # of no network
    manager.process.wait(60)
    with pytest.raises(UnprotectedManagerError, match=r'port \d+ of 192.0.2.1 cannot be listened on \(EADDRNOTAVAIL\)'):
        launcher._check_rest_server(manager.port, retry=0, url_prefix=manager.prefix)


def test_another_program_that_is_called_localhost(start_manager):
    """It would be sent the token."""
    with socket.socket(socket.AF_INET6) as other:
        try:
            other.bind(('::1', 0))
        except OSError:
            pytest.skip('needs ::1')
        other.listen()
        manager = start_manager(port=other.getsockname()[1])
        assert manager.process.wait(60) == 1


BUILDS = {
    'other classes': "require('http').createServer((q, r) => r.end('{}')).listen(port)",
    'a server of its own': "require('net').createServer(s => s.end()).listen({ port })",
    'no server': 'setInterval(() => {}, 1000)',
}


@pytest.mark.parametrize('build', BUILDS)
def test_another_build_of_nni_does_not_start(start_manager, monkeypatch, tmp_path, build):
    code = "const port = Number(process.argv[process.argv.indexOf('--port') + 1]);"
    (tmp_path / 'main.js').write_text(f'{code}\n{BUILDS[build]}')
    (tmp_path / NODE.name).symlink_to(NODE)
    monkeypatch.setattr(nni_node, '__path__', [str(tmp_path)])
    manager = start_manager()
    if build == 'no server':
        assert manager.request('GET', '/')[0] is None
        return
    assert manager.process.wait(60) == 1
    with pytest.raises(UnprotectedManagerError, match='this build of NNI has no V3asV1 .*pip install nni==3.0'):
        launcher._check_rest_server(manager.port, retry=0, url_prefix=manager.prefix)


def test_no_build_of_nni(start_manager, monkeypatch, tmp_path):
    monkeypatch.setattr(nni_node, '__path__', [str(tmp_path)])
    with pytest.raises(UnprotectedManagerError, match='has no main.js'):
        start_manager()


# --- servers that NNI opens for other training services -------------------------------------------

SERVERS = """
const settings = { address: JSON.parse(process.argv[3]), port: 1, prefix: '', refusal: '/dev/null' };
require(process.argv[2] + '/listening').install(settings);
const http = require('http'), net = require('net');
const found = [];
const servers = [
    http.createServer().listen(0), http.createServer().listen(0, '0.0.0.0'), net.createServer().listen('0'),
    http.createServer().listen({ port: 0, host: '::' }), net.createServer().listen(),
];
servers.forEach(server => server.on('listening', () => {
    found.push(server.address().address);
    if (found.length === servers.length) { console.log(JSON.stringify(found)); process.exit(); }
}));
"""


@pytest.mark.parametrize('address', [None, 'localhost', '127.0.0.3'])
def test_nothing_in_the_process_listens_elsewhere(tmp_path, address):
    assert node(tmp_path, SERVERS, address) == ['127.0.0.1'] * 5


REQUESTS = """
const http = require('http');
require(process.argv[2] + '/credentials').install({ token: 'a'.repeat(32) });
const { guard } = require(process.argv[2] + '/guard');
const statuses = JSON.parse(process.argv[3]).map(({ method, url, headers, remoteAddress, isMain }) => {
    let status = 200;
    const server = new http.Server();
    guard(server, { hosts: ['10.0.0.5'], isMain, prefix: '' });
    headers = { host: '10.0.0.5:8080', ...headers };
    const request = { method, url, headers, rawHeaders: Object.entries(headers).flat(), socket: { remoteAddress } };
    server.emit('request', request, { setHeader() {}, writeHead(code) { status = code; }, end() {} });
    return status;
});
console.log(JSON.stringify(statuses));
"""
KEY = '/~' + 'a' * 32


@pytest.mark.parametrize(
    ('request_', 'status'),
    [
        ({'url': '/api/v1/nni/version'}, 403),
        ({'url': '/oview'}, 403),
        ({'url': f'{KEY}/api/v1/nni/version'}, 200),
        ({'url': f'{KEY}/oview'}, 200),
        ({'url': '/api/v1/nni/version', 'remoteAddress': '::ffff:10.0.0.9'}, 403),
        ({'url': '/api/v1/nni/version', 'remoteAddress': '1270.0.0.1'}, 403),
        ({'url': '/api/v1/nni/version', 'remoteAddress': '127.0.0.1'}, 200),
        ({'url': '/api/v1/nni/version', 'remoteAddress': '::ffff:127.0.0.1'}, 200),
        ({'url': '/other', 'isMain': False}, 200),
        ({'url': '/other', 'isMain': False, 'headers': {'origin': 'http://10.0.0.5:8080'}}, 403),
        ({'url': '/other', 'isMain': False, 'headers': {'host': 'evil.example'}}, 403),
    ],
    ids=str,
)
def test_from_another_machine_everything_needs_the_token(tmp_path, request_, status):
    given = {'method': 'GET', 'headers': {}, 'remoteAddress': '10.0.0.9', 'isMain': True, **request_}
    assert node(tmp_path, REQUESTS, [given]) == [status]


def node(folder, code, argument):
    """What a script prints in NNI's Node."""
    script = folder / 'script.js'
    script.write_text(code)
    command = [str(NODE), str(script), str(SCRIPTS), json.dumps(argument)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, env={'PATH': os.defpath})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
